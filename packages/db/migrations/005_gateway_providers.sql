-- Providers and model routes that a workspace configures for itself, beside those of the server's configuration file.
-- Settings are documents: their schema is the gateway's, which checks them before they are stored and after they are read.

create table gateway_providers (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text not null check (length(name) between 1 and 63),
  kind text not null check (kind in ('openai', 'anthropic', 'gemini', 'bedrock', 'azure', 'openai-compatible')),
  -- Everything but secrets.
  settings jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (workspace_id, name)
);

-- The secrets of a provider, sealed with a data key of their own, which is sealed with the master key of that id: to
-- rotate the master key only data keys are sealed anew. Both seals are AES-256-GCM over ids as associated data, so a row
-- that is moved to another provider or workspace cannot be opened there.
create table gateway_provider_keys (
  id text primary key,
  workspace_id text not null references workspaces (id),
  provider_id text not null unique references gateway_providers (id) on delete cascade,
  master_key_id text not null check (length(master_key_id) between 1 and 64),
  sealed_data_key bytea not null check (octet_length(sealed_data_key) = 60),
  sealed_secrets bytea not null check (octet_length(sealed_secrets) between 29 and 65536),
  created_at timestamptz not null
);
create index gateway_provider_keys_by_master on gateway_provider_keys (master_key_id);

create table gateway_routes (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text not null check (length(name) between 1 and 256),
  settings jsonb not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (workspace_id, name)
);
