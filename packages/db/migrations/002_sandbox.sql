-- Layer 4. Files named here (disk, RAM and snapshot ids) live in the data folder of the host that host_id names.

create table sandbox_hosts (
  id text primary key,
  name text not null,
  seen_at timestamptz not null default now()
);

create table sandboxes (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text,
  host_id text not null references sandbox_hosts (id),
  parent_id text,
  template text not null,
  -- Which frozen template (recipe, tier, accelerator) its RAM and disk are children of.
  frozen_key text not null,
  memory_mib integer not null check (memory_mib > 0),
  vcpus integer not null check (vcpus > 0),
  disk_mib integer not null check (disk_mib > 0),
  state text not null check (state in ('creating', 'running', 'standby', 'stopped', 'failed', 'deleting')),
  idle_timeout_ms bigint not null check (idle_timeout_ms >= 0),
  max_lifetime_ms bigint not null check (max_lifetime_ms >= 0),
  run_time_ms bigint not null default 0,
  keep_alive_until timestamptz,
  labels jsonb not null default '{}',
  -- Disk layers, the writable one first; the template's disk lies below the last.
  disk_chain text[] not null,
  -- RAM layers in the order their index names them; empty until the first standby.
  ram_chain text[] not null default '{}',
  -- The acknowledged standby: the file with RAM index and device state.
  snapshot_id text,
  -- The machine folder it runs in, while it runs.
  machine_id text,
  hostname text not null,
  guest_machine_id text not null,
  -- Whether the guest has yet to be told its identity: it keeps what it was told in its memory.
  identity_pending boolean not null,
  stored_bytes bigint not null default 0,
  notice text,
  created_at timestamptz not null default now(),
  last_active_at timestamptz not null default now(),
  check (state <> 'standby' or snapshot_id is not null),
  check (state <> 'running' or machine_id is not null)
);

create unique index sandboxes_name on sandboxes (workspace_id, name) where state <> 'deleting';
create index sandboxes_page on sandboxes (workspace_id, created_at desc, id desc);
create index sandboxes_host on sandboxes (host_id, state);

create table sandbox_events (
  seq bigint generated always as identity primary key,
  workspace_id text not null references workspaces (id),
  sandbox_id text not null,
  at timestamptz not null default now(),
  type text not null,
  data jsonb not null default '{}'
);

create index sandbox_events_page on sandbox_events (workspace_id, sandbox_id, seq);

create table sandbox_quotas (
  workspace_id text primary key references workspaces (id),
  max_sandboxes integer not null default 10000 check (max_sandboxes >= 0),
  max_running integer not null default 64 check (max_running >= 0),
  max_running_memory_mib integer not null default 65536 check (max_running_memory_mib >= 0)
);
