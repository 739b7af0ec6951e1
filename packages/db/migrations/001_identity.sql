-- Who may do what. Every row of every table belongs to a workspace, and every query names it.

create table workspaces (
  id text primary key,
  name text not null unique check (length(name) between 1 and 64),
  created_at timestamptz not null
);

create table users (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text not null check (length(name) between 1 and 128),
  created_at timestamptz not null
);
create index users_by_workspace on users (workspace_id);

create table api_keys (
  id text primary key,
  workspace_id text not null references workspaces (id),
  user_id text references users (id),
  name text not null check (length(name) between 1 and 64),
  role text not null check (role in ('owner', 'developer', 'viewer')),
  -- SHA-256 of the secret part. The secret has 160 random bits, so a slow hash would add nothing.
  secret_hash bytea not null check (octet_length(secret_hash) = 32),
  created_at timestamptz not null,
  last_used_at timestamptz,
  revoked_at timestamptz
);
create index api_keys_by_workspace on api_keys (workspace_id, id);

create table audit_log (
  seq bigint generated always as identity primary key,
  workspace_id text not null references workspaces (id),
  at timestamptz not null,
  key_id text,
  user_id text,
  action text not null check (length(action) between 1 and 64),
  target text not null check (length(target) <= 256),
  details jsonb not null default '{}'
);
create index audit_log_by_workspace on audit_log (workspace_id, seq);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger audit_log_append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_change();
