-- Finished spans. Trace and span ids are chosen by callers, so they are unique within a workspace only.
create table spans (
  workspace_id text not null,
  trace_id text not null,
  span_id text not null,
  parent_span_id text,
  kind text not null,
  name text not null,
  -- Milliseconds since 1970 with fractions, as spans carry them.
  start_ms double precision not null,
  end_ms double precision not null,
  status text not null check (status in ('ok', 'error')),
  status_message text,
  attributes jsonb not null,
  input_tokens bigint,
  output_tokens bigint,
  cost_micro_usd bigint,
  primary key (workspace_id, trace_id, span_id)
);

-- Sums of the spans above, kept by the statement that inserts them, so that lists need not read every span.
create table traces (
  workspace_id text not null,
  trace_id text not null,
  name text not null,
  -- True once a span without a parent has arrived; name is then that span's.
  has_root boolean not null,
  start_ms double precision not null,
  end_ms double precision not null,
  span_count bigint not null,
  error_count bigint not null,
  -- Over spans of kind model only.
  input_tokens bigint not null,
  output_tokens bigint not null,
  cost_micro_usd bigint not null,
  primary key (workspace_id, trace_id)
);

create index traces_by_time on traces (workspace_id, start_ms desc, trace_id desc);
