-- Who calls models, and what holds them back: virtual keys, caches, idempotency, caps on runs, kill switches, events.

create table teams (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text not null check (length(name) between 1 and 64),
  created_at timestamptz not null,
  unique (workspace_id, name),
  unique (workspace_id, id)
);

create table agents (
  id text primary key,
  workspace_id text not null references workspaces (id),
  name text not null check (length(name) between 1 and 64),
  team_id text,
  created_at timestamptz not null,
  unique (workspace_id, name),
  unique (workspace_id, id),
  foreign key (workspace_id, team_id) references teams (workspace_id, id)
);

alter table users
  add column team_id text,
  add constraint users_of_workspace unique (workspace_id, id),
  add constraint users_team foreign key (workspace_id, team_id) references teams (workspace_id, id);

-- A virtual key is an API key that is bound to more than a workspace. The pair of columns in each reference keeps a key
-- from naming what belongs to another workspace.
alter table api_keys
  add column team_id text,
  add column agent_id text,
  add column run_id text check (length(run_id) between 1 and 128),
  -- Model routes and models it may ask for; null: any.
  add column model_routes text[] check (cardinality(model_routes) <= 100),
  add column expires_at timestamptz,
  add constraint api_keys_team foreign key (workspace_id, team_id) references teams (workspace_id, id),
  add constraint api_keys_agent foreign key (workspace_id, agent_id) references agents (workspace_id, id);

-- Caps hold for each run by itself: those of the run, else of its agent, else of the workspace.
create table run_caps (
  workspace_id text not null references workspaces (id),
  subject text not null check (subject in ('workspace', 'agent', 'run')),
  -- Empty for the workspace.
  subject_id text not null check (length(subject_id) <= 128),
  max_micro_usd bigint check (max_micro_usd >= 0),
  max_tokens bigint check (max_tokens >= 0),
  max_calls bigint check (max_calls >= 0),
  max_steps bigint check (max_steps >= 0),
  -- How often the same tool may be called with the same arguments before the run is refused.
  max_repeated_calls integer check (max_repeated_calls >= 2),
  -- How often the input may grow without anything new at its end before the run is refused.
  max_unchanged_inputs integer check (max_unchanged_inputs >= 2),
  updated_at timestamptz not null,
  primary key (workspace_id, subject, subject_id)
);

create table run_totals (
  workspace_id text not null,
  run_id text not null,
  agent_id text,
  calls bigint not null default 0,
  steps bigint not null default 0,
  last_step text,
  micro_usd bigint not null default 0,
  tokens bigint not null default 0,
  -- Sums of run_holds, kept by the statements that change those.
  held_micro_usd bigint not null default 0,
  held_tokens bigint not null default 0,
  input_digest bytea,
  input_tokens bigint not null default 0,
  unchanged_inputs integer not null default 0,
  started_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (workspace_id, run_id)
);
create index run_totals_by_time on run_totals (workspace_id, updated_at desc);

create table run_holds (
  id text primary key,
  workspace_id text not null,
  run_id text not null,
  micro_usd bigint not null,
  tokens bigint not null,
  expires_at timestamptz not null
);
create index run_holds_by_expiry on run_holds (expires_at);

create table kill_switches (
  id text primary key,
  workspace_id text not null references workspaces (id),
  subject text not null check (subject in ('workspace', 'key', 'agent', 'run')),
  -- The workspace's own id for a workspace.
  subject_id text not null check (length(subject_id) between 1 and 128),
  reason text not null check (length(reason) <= 256),
  created_at timestamptz not null,
  created_by text not null,
  lifted_at timestamptz
);
create unique index kill_switches_in_force on kill_switches (workspace_id, subject, subject_id) where lifted_at is null;

create table answer_cache (
  id bigint generated always as identity primary key,
  workspace_id text not null references workspaces (id),
  -- SHA-256 of all that decides the answer.
  digest bytea not null check (octet_length(digest) = 32),
  model text not null,
  status integer not null,
  headers jsonb not null,
  body bytea not null,
  streamed boolean not null,
  usage jsonb,
  -- For semantic hits: SHA-256 of everything but the last message, and the unit vector of that message as 32-bit floats.
  frame bytea check (octet_length(frame) = 32),
  vector bytea check (octet_length(vector) <= 65536),
  created_at timestamptz not null,
  expires_at timestamptz not null,
  unique (workspace_id, digest),
  check ((frame is null) = (vector is null))
);
create index answer_cache_by_frame on answer_cache (workspace_id, frame, id) where frame is not null;
create index answer_cache_by_expiry on answer_cache (expires_at);

create table idempotency_keys (
  workspace_id text not null references workspaces (id),
  key_id text not null,
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  digest bytea not null check (octet_length(digest) = 32),
  state text not null check (state in ('running', 'finished', 'lost')),
  -- Who runs it, and until when that is believed without a sign of life.
  owner text not null,
  lease_until timestamptz not null,
  status integer,
  headers jsonb,
  body bytea,
  streamed boolean,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (workspace_id, key_id, idempotency_key),
  check (state <> 'finished' or (status is not null and headers is not null and body is not null and streamed is not null))
);
create index idempotency_keys_by_expiry on idempotency_keys (expires_at);

create table gateway_events (
  seq bigint generated always as identity primary key,
  id text not null unique,
  workspace_id text not null references workspaces (id),
  at timestamptz not null,
  type text not null check (length(type) between 1 and 64),
  subject text not null check (length(subject) <= 256),
  data jsonb not null default '{}',
  once text check (length(once) <= 256)
);
create unique index gateway_events_once on gateway_events (workspace_id, once) where once is not null;
create index gateway_events_by_workspace on gateway_events (workspace_id, seq);

create table webhooks (
  id text primary key,
  workspace_id text not null references workspaces (id),
  url text not null check (length(url) <= 2048),
  -- Types of events it gets; empty: all.
  types text[] not null check (cardinality(types) <= 100),
  -- What the deliveries are signed with, sealed under the server's master key.
  sealed_secret text not null check (length(sealed_secret) <= 4096),
  created_at timestamptz not null,
  unique (workspace_id, id)
);

create table webhook_deliveries (
  id text primary key,
  workspace_id text not null,
  webhook_id text not null,
  event_id text not null,
  event_type text not null,
  payload text not null check (length(payload) <= 65536),
  state text not null check (state in ('pending', 'delivered', 'failed')),
  attempts integer not null default 0,
  next_at timestamptz not null,
  last_status integer,
  last_error text check (length(last_error) <= 256),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  unique (webhook_id, event_id),
  foreign key (workspace_id, webhook_id) references webhooks (workspace_id, id) on delete cascade
);
create index webhook_deliveries_due on webhook_deliveries (next_at) where state = 'pending';
create index webhook_deliveries_by_webhook on webhook_deliveries (workspace_id, webhook_id, created_at desc);
