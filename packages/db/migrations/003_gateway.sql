-- One row for each attempt to get an answer from a provider: what it cost, and how it ended. Rows are written when an
-- attempt ends and never change. No foreign key to the workspace or key: the record of what was spent outlives both.
create table model_calls (
  id text primary key,
  workspace_id text not null,
  key_id text not null,
  user_id text,
  endpoint text not null,
  -- The model name that the caller asked for, and the route of that name when there is one.
  requested_model text not null,
  route text,
  provider text not null,
  provider_model text not null,
  -- A replayed recording: tokens and cost are those of the recorded reply, nothing was spent.
  recorded boolean not null,
  attempt integer not null check (attempt >= 1),
  streamed boolean not null,
  -- HTTP status of the provider; null when no answer came.
  status integer,
  -- Null when the attempt succeeded.
  error_class text,
  input_tokens bigint check (input_tokens >= 0),
  output_tokens bigint check (output_tokens >= 0),
  -- Part of input_tokens.
  cached_tokens bigint check (cached_tokens >= 0),
  -- Null when the price of the model is not known.
  cost_micro_usd bigint check (cost_micro_usd >= 0),
  latency_ms double precision not null,
  first_token_ms double precision,
  trace_id text not null,
  span_id text not null,
  started_at timestamptz not null
);

create index model_calls_by_time on model_calls (workspace_id, started_at desc);
create index model_calls_by_trace on model_calls (workspace_id, trace_id);

create function model_calls_are_immutable() returns trigger language plpgsql as $$
begin
  raise exception 'model_calls rows never change' using errcode = 'integrity_constraint_violation';
end
$$;

create trigger model_calls_immutable before update or delete on model_calls
  for each row execute function model_calls_are_immutable();
create trigger model_calls_not_truncated before truncate on model_calls
  for each statement execute function model_calls_are_immutable();
