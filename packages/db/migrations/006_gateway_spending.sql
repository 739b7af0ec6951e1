-- What may be spent, what is reserved, and what was spent. Amounts are whole and in the unit of their budget:
-- micro-dollars, requests or tokens. Locks are always taken in the order process, windows by id, slices.

create table budgets (
  id text primary key check (length(id) <= 64),
  workspace_id text not null references workspaces (id),
  unit text not null check (unit in ('micro_usd', 'requests', 'tokens')),
  scope text not null check (scope in ('workspace', 'team', 'user', 'key', 'agent', 'run')),
  -- Whose; empty: each one of the scope has the whole amount for itself. Always empty for the workspace.
  subject_id text not null default '' check (length(subject_id) <= 128),
  -- Only calls of that endpoint count; empty: all.
  endpoint text not null default '' check (length(endpoint) <= 64),
  period text not null check (period in ('minute', 'hour', 'day', 'week', 'month', 'total')),
  time_zone text not null default 'UTC' check (length(time_zone) between 1 and 64),
  amount bigint not null check (amount > 0 and amount <= 9007199254740991),
  -- A budget that is not hard refuses nothing, it only counts and tells.
  hard boolean not null default true,
  -- Percent of the amount at which events are published.
  thresholds integer[] not null default '{}' check (cardinality(thresholds) <= 10),
  created_at timestamptz not null default clock_timestamp(),
  -- Of the workspace, when the row was last changed; lets processes read only what is new.
  generation bigint not null default 0,
  -- Windows and ledger go on naming a budget that was removed.
  removed_at timestamptz,
  check (scope <> 'workspace' or subject_id = '')
);
create index budgets_by_generation on budgets (workspace_id, generation);
create unique index budgets_distinct on budgets (workspace_id, unit, scope, subject_id, endpoint, period, hard)
  where removed_at is null;

-- A call is admitted under the generation it was checked against, or not at all.
create table budget_generations (
  workspace_id text primary key,
  generation bigint not null
);

create function stamp_budget() returns trigger language plpgsql as $$
begin
  insert into budget_generations as g (workspace_id, generation) values (new.workspace_id, 1)
    on conflict (workspace_id) do update set generation = g.generation + 1
    returning generation into new.generation;
  return new;
end
$$;
create trigger budgets_stamped before insert or update on budgets for each row execute function stamp_budget();

create table budget_windows (
  id bigint generated always as identity primary key,
  budget_id text not null references budgets (id),
  workspace_id text not null,
  subject_id text not null,
  starts_at timestamptz not null,
  -- Null: a budget in total.
  ends_at timestamptz,
  -- Spent, and given to processes: a slice is only cut from what is beyond that.
  debited bigint not null default 0,
  -- Settled by processes whose slices have come back; slices have the rest.
  spent bigint not null default 0,
  -- When nobody asks for it any more: soon after its end for limits, after more than a year for money.
  prune_at timestamptz,
  unique (budget_id, subject_id, starts_at)
);
create index budget_windows_by_pruning on budget_windows (prune_at) where prune_at is not null;

-- A gateway process. It lives as long as it writes; `place`, `pid` and `born` let its neighbours see its end at once.
create table gateway_processes (
  id text primary key,
  place text not null,
  pid integer not null,
  born text not null,
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp(),
  -- Number of its last write: one that is repeated because its answer was lost changes nothing.
  last_write bigint not null default 0
) with (fillfactor = 50);

-- What a process may spend of a window without asking.
create table budget_slices (
  process_id text not null,
  window_id bigint not null,
  granted bigint not null,
  spent bigint not null default 0,
  -- May have amounts in it that no call has reserved, so that others may hope to get them.
  loose boolean not null,
  primary key (window_id, process_id)
) with (fillfactor = 50);
create index budget_slices_by_process on budget_slices (process_id);

-- Calls that are under way. The row is there before anything is sent to a provider.
create table budget_holds (
  call_id text collate "C" primary key,
  process_id text not null,
  -- What each window is charged when nobody lives to settle the call: `window:amount,…`. Text that only the sweeper reads,
  -- since this row is written and deleted for every call.
  charges text not null,
  -- The ledger row for that case, as gateway_store_attempts takes it.
  attempt text not null,
  opened_at timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create table price_overrides (
  id text primary key,
  workspace_id text not null references workspaces (id),
  provider text not null check (length(provider) between 1 and 64),
  model text not null check (length(model) between 1 and 256),
  -- In force from then on, until a later one of the same model is.
  effective_from timestamptz not null,
  price jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  unique (workspace_id, provider, model, effective_from)
);

create function tell_prices() returns trigger language plpgsql as $$
begin
  perform pg_notify('gateway_prices', coalesce(new.workspace_id, old.workspace_id));
  return null;
end
$$;
create trigger price_overrides_told after insert or update or delete on price_overrides
  for each row execute function tell_prices();

-- One row for each attempt to get an answer, written once; takes the place of model_calls. No foreign keys: what was spent outlives whoever spent it.
create table model_attempts (
  id text collate "C" primary key,
  call_id text not null,
  attempt integer not null check (attempt >= 1),
  workspace_id text not null,
  team_id text,
  user_id text,
  key_id text not null,
  agent_id text,
  run_id text,
  step text,
  endpoint text not null,
  requested_model text not null,
  route text,
  variant text,
  provider text not null,
  provider_model text not null,
  response_model text,
  price_version text,
  -- A replayed recording: tokens and cost are those of the recorded reply, nothing was spent.
  recorded boolean not null,
  streamed boolean not null,
  cache text check (cache in ('exact', 'semantic', 'replayed')),
  -- HTTP status of the provider; null when no answer came.
  status integer,
  -- Null when the attempt succeeded; `abandoned` when the process ended before the attempt did.
  error_class text,
  usage_source text not null check (usage_source in ('provider', 'estimated', 'none')),
  -- Disjoint; reasoning is part of output.
  input_tokens bigint check (input_tokens >= 0),
  cache_read_tokens bigint check (cache_read_tokens >= 0),
  cache_write_5m_tokens bigint check (cache_write_5m_tokens >= 0),
  cache_write_1h_tokens bigint check (cache_write_1h_tokens >= 0),
  output_tokens bigint check (output_tokens >= 0),
  reasoning_tokens bigint check (reasoning_tokens >= 0),
  images bigint check (images >= 0),
  audio_seconds double precision check (audio_seconds >= 0),
  characters bigint check (characters >= 0),
  -- Null when the price of the model is not known.
  cost_micro_usd bigint check (cost_micro_usd >= 0),
  latency_ms double precision not null,
  first_token_ms double precision,
  trace_id text not null,
  span_id text not null,
  tags jsonb not null,
  started_at timestamptz not null,
  -- Decides in which windows of its budgets it counts: the database's time when the call was admitted.
  admitted_at timestamptz not null
);
create index model_attempts_by_time on model_attempts (workspace_id, started_at desc);
create index model_attempts_by_run on model_attempts (workspace_id, run_id, started_at) where run_id is not null;

create function model_attempts_are_immutable() returns trigger language plpgsql as $$
begin
  raise exception 'model_attempts rows never change' using errcode = 'integrity_constraint_violation';
end
$$;
create trigger model_attempts_immutable before update or delete on model_attempts
  for each row execute function model_attempts_are_immutable();
create trigger model_attempts_not_truncated before truncate on model_attempts
  for each statement execute function model_attempts_are_immutable();

insert into model_attempts (id, call_id, attempt, workspace_id, user_id, key_id, endpoint, requested_model, route, provider,
  provider_model, recorded, streamed, status, error_class, usage_source, input_tokens, cache_read_tokens,
  cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_micro_usd, latency_ms, first_token_ms,
  trace_id, span_id, tags, started_at, admitted_at)
select id, id, attempt, workspace_id, user_id, key_id, endpoint, requested_model, route, provider, provider_model, recorded,
  streamed, status, error_class, case when input_tokens is null then 'none' else 'provider' end,
  greatest(input_tokens - coalesce(cached_tokens, 0), 0), case when input_tokens is null then null else coalesce(cached_tokens, 0) end,
  case when input_tokens is null then null else 0 end, case when input_tokens is null then null else 0 end, output_tokens,
  case when input_tokens is null then null else 0 end, cost_micro_usd, latency_ms, first_token_ms, trace_id, span_id, '{}',
  started_at, started_at
from model_calls;
drop table model_calls;
drop function model_calls_are_immutable();

-- Rows of the ledger: records end with E'\x1e', their columns, in this order, with E'\x1f'; a column without text is null.
-- It takes half the time of JSON. Rows that are there already stay as they are; answers the ids of the new ones.
create function gateway_store_attempts(p_attempts text) returns setof text language sql as $$
  insert into model_attempts (
    id, call_id, attempt, workspace_id, team_id, user_id, key_id, agent_id, run_id, step, endpoint, requested_model,
    route, variant, provider, provider_model, price_version, recorded, streamed, trace_id, span_id, tags,
    started_at, admitted_at, cache, status, error_class, response_model, usage_source, input_tokens,
    cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, images,
    audio_seconds, characters, cost_micro_usd, latency_ms, first_token_ms
  )
  select
    a[1], a[2], a[3]::integer, a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16],
    a[17], a[18]::boolean, a[19]::boolean, a[20], a[21], a[22]::jsonb, to_timestamp(a[23]::float8 / 1000),
    to_timestamp(a[24]::float8 / 1000), a[25], a[26]::integer, a[27], a[28], a[29], a[30]::bigint, a[31]::bigint,
    a[32]::bigint, a[33]::bigint, a[34]::bigint, a[35]::bigint, a[36]::bigint, a[37]::float8, a[38]::bigint,
    a[39]::bigint, a[40]::float8, a[41]::float8
  -- Without the offset the planner would split each row anew for every column.
  from (select string_to_array(r, E'\x1f', '') as a from string_to_table(p_attempts, E'\x1e') as r offset 0) as t
  on conflict (id) do nothing
  returning id
$$;

-- Ends the slices of a process in these windows: what is left goes back, what was spent stays with the window. A slice
-- that spent more than it had takes the difference from the window.
create function gateway_fold_slices(p_process text, p_windows bigint[]) returns void language plpgsql as $$
begin
  perform 1 from budget_windows where id = any (p_windows) order by id for update;
  update budget_windows w set spent = w.spent + s.spent, debited = w.debited - s.granted + s.spent
    from budget_slices s where s.process_id = p_process and s.window_id = any (p_windows) and w.id = s.window_id;
  delete from budget_slices where process_id = p_process and window_id = any (p_windows);
end
$$;

-- Everything that a process has to write, in one transaction: new holds (records end with E'\x1e'; call, workspace and
-- charges with E'\x1f', and after E'\x1d' comes the row for the ledger), ended calls, rows of the ledger, what its slices
-- spent (p_spent) and gave back (p_returned, p_loose), and slices that end (p_folded). A process that missed the answer to
-- a lease says what it knows it has (p_known, before what it returns), and what it does not know of goes back. `late` are attempts of calls whose
-- hold was swept already: only what the ledger does not have yet is charged, straight to the windows.
-- Answers `fenced` when the process was taken for dead, else the calls whose hold was refused because the budgets of their
-- workspace have changed.
create function gateway_write(
  p_process text, p_number bigint, p_holds text, p_workspaces text[], p_generations bigint[], p_closed text[],
  p_attempts text, p_windows bigint[], p_spent bigint[], p_returned bigint[], p_loose boolean[], p_known bigint[],
  p_folded bigint[], p_late json, out fenced boolean, out refused text[], out at_ms double precision
) language plpgsql
-- Tables that are all change look empty to the planner when it first looks at them, and it would read them from end to end
-- ever after.
set enable_seqscan = off as $$
declare
  v_stale text[];
  v_returned bigint[];
begin
  at_ms := extract(epoch from clock_timestamp()) * 1000;
  update gateway_processes set seen_at = clock_timestamp(), last_write = p_number
    where id = p_process and last_write < p_number;
  if not found then
    fenced := not exists (select from gateway_processes where id = p_process);
    if not fenced and p_holds is not null then
      select array_agg(split_part(h, E'\x1f', 1)) into refused from string_to_table(p_holds, E'\x1e') as h
        where not exists (select from budget_holds b where b.call_id = split_part(h, E'\x1f', 1));
    end if;
    return;
  end if;
  fenced := false;
  if p_holds is not null then
    select array_agg(g.workspace_id) into v_stale from unnest(p_workspaces, p_generations) as g(workspace_id, generation)
      where g.generation <> coalesce(
        (select b.generation from budget_generations b where b.workspace_id = g.workspace_id), 0);
    insert into budget_holds (call_id, process_id, charges, attempt)
      select split_part(h, E'\x1f', 1), p_process, split_part(h, E'\x1f', 3), substr(h, strpos(h, E'\x1d') + 1)
      from string_to_table(p_holds, E'\x1e') as h
      where v_stale is null or split_part(h, E'\x1f', 2) <> all (v_stale);
    if v_stale is not null then
      select array_agg(split_part(h, E'\x1f', 1)) into refused from string_to_table(p_holds, E'\x1e') as h
        where split_part(h, E'\x1f', 2) = any (v_stale);
    end if;
  end if;
  if p_attempts is not null then perform gateway_store_attempts(p_attempts); end if;
  if cardinality(p_closed) > 0 then delete from budget_holds where call_id = any (p_closed); end if;
  if p_late is not null then perform gateway_charge_late(p_late); end if;
  if cardinality(p_windows) > 0 then
    v_returned := p_returned;
    for i in 1 .. cardinality(p_windows) loop
      if p_known[i] is not null then
        v_returned[i] := v_returned[i] + coalesce((select s.granted from budget_slices s
          where s.window_id = p_windows[i] and s.process_id = p_process), p_known[i]) - p_known[i];
      end if;
    end loop;
    if exists (select from unnest(v_returned) as r where r <> 0) then
      perform 1 from budget_windows
        where id in (select u.id from unnest(p_windows, v_returned) as u(id, r) where u.r <> 0) order by id for update;
      update budget_windows w set debited = w.debited - u.r
        from unnest(p_windows, v_returned) as u(id, r) where w.id = u.id and u.r <> 0;
    end if;
    update budget_slices s set spent = s.spent + u.spent, granted = s.granted - u.returned, loose = s.loose and u.loose
      from unnest(p_windows, p_spent, v_returned, p_loose) as u(id, spent, returned, loose)
      where s.window_id = u.id and s.process_id = p_process;
  end if;
  if cardinality(p_folded) > 0 then perform gateway_fold_slices(p_process, p_folded); end if;
end
$$;

create function gateway_charge_late(p_late json) returns void language plpgsql as $$
declare
  l record;
begin
  perform 1 from budget_windows where id in (
    select unnest(q.windows) from json_to_recordset(p_late) as q(windows bigint[])) order by id for update;
  for l in select * from json_to_recordset(p_late) as q(attempt text, windows bigint[], amounts bigint[]) loop
    if exists (select from gateway_store_attempts(l.attempt)) then
      update budget_windows w set spent = w.spent + u.amount, debited = w.debited + u.amount
        from unnest(l.windows, l.amounts) as u(id, amount) where w.id = u.id;
    end if;
  end loop;
end
$$;

-- Cuts slices. Each request names a window and what the calls that wait need of it (`need`, the first of them `first`) and
-- what the process would like to have on top (`want`). `least` is what the most modest of them lacks. Near the end of a budget nothing comes on top, so that nobody sits
-- on what another could use. A budget that has another revision than the process knows gives nothing. A limit that is not in money lets the first call of a window through, however large it is.
create function gateway_lease(p_process text, p_requests json)
returns table (ord integer, window_id bigint, granted bigint, short boolean, tight boolean, others boolean, stale boolean)
language plpgsql set enable_seqscan = off as $$
declare
  r record;
  b record;
  v_free bigint;
  v_spare bigint;
  v_debited bigint;
begin
  perform 1 from gateway_processes where id = p_process for update;
  if not found then return; end if;
  update gateway_processes set seen_at = clock_timestamp() where id = p_process;
  for r in
    select * from json_to_recordset(p_requests)
      as q(ord integer, budget text, subject text, starts double precision, ends double precision, need bigint, first bigint, least bigint,
        want bigint, revision bigint)
    order by q.budget, q.subject, q.starts
  loop
    select x.amount, x.unit, x.hard, x.workspace_id, x.generation into strict b from budgets x where x.id = r.budget for share;
    stale := b.generation <> r.revision;
    if stale then
      ord := r.ord; window_id := null; granted := 0; short := false; tight := true; others := false;
      return next;
      continue;
    end if;
    loop
      select w.id, w.debited into window_id, v_debited from budget_windows w
        where w.budget_id = r.budget and w.subject_id = r.subject and w.starts_at = to_timestamp(r.starts / 1000) for update;
      exit when found;
      insert into budget_windows (budget_id, workspace_id, subject_id, starts_at, ends_at, prune_at)
        values (r.budget, b.workspace_id, r.subject, to_timestamp(r.starts / 1000), to_timestamp(r.ends / 1000),
          to_timestamp(r.ends / 1000) + case b.unit when 'micro_usd' then interval '400 days' else interval '1 hour' end)
        on conflict do nothing;
    end loop;
    ord := r.ord;
    v_free := greatest(b.amount - v_debited, 0);
    if not b.hard then
      granted := 0; short := false; tight := false;
    elsif b.unit <> 'micro_usd' and v_debited = 0 and r.first > b.amount then
      granted := r.first; short := r.need > r.first; tight := true;
    elsif r.need > v_free then
      -- A rest that is too small for anybody who waits stays where all can get it.
      granted := case when v_free >= r.least then v_free else 0 end; short := true; tight := true;
    else
      v_spare := least(r.want, (v_free - r.need) / 16);
      tight := v_spare < r.first;
      granted := r.need + case when tight then 0 else v_spare end;
      short := false;
    end if;
    others := short and exists (
      select from budget_slices s where s.window_id = gateway_lease.window_id and s.process_id <> p_process and s.loose);
    if others then perform pg_notify('gateway_recall', window_id::text); end if;
    if granted > 0 then
      update budget_windows w set debited = w.debited + gateway_lease.granted where w.id = gateway_lease.window_id;
    end if;
    insert into budget_slices as s (process_id, window_id, granted, loose)
      values (p_process, gateway_lease.window_id, gateway_lease.granted, gateway_lease.granted > 0)
      on conflict on constraint budget_slices_pkey
      do update set granted = s.granted + excluded.granted, loose = s.loose or excluded.loose;
    return next;
  end loop;
end
$$;

-- Settles all that a dead process left behind: each hold once, at the cost of its input, under the number of the attempt
-- that was under way; then its slices end. Without `p_force` only when it was not seen since `p_silent_since`.
-- Answers how many holds there were, or null when the process lives or is gone already.
create function gateway_reclaim(p_process text, p_silent_since timestamptz, p_force boolean) returns bigint
language plpgsql as $$
declare
  r record;
  v_row text[];
  v_seen timestamptz;
  v_holds bigint;
begin
  select seen_at into v_seen from gateway_processes where id = p_process for update;
  if not found or (not p_force and v_seen > p_silent_since) then return null; end if;
  for r in select h.call_id, h.attempt, h.charges, extract(epoch from clock_timestamp() - h.opened_at) * 1000 as open_ms,
      (select count(*) + 1 from model_attempts m where m.id > h.call_id || '.' and m.id < h.call_id || '/') as number
    from budget_holds h where h.process_id = p_process
  loop
    v_row := string_to_array(r.attempt, E'\x1f');
    v_row[1] := r.call_id || '.' || r.number;
    v_row[3] := r.number;
    v_row[40] := r.open_ms;
    if exists (select from gateway_store_attempts(array_to_string(v_row, E'\x1f'))) and r.charges <> '' then
      update budget_slices s set spent = s.spent + split_part(c, ':', 2)::bigint
        from string_to_table(r.charges, ',') as c
        where s.process_id = p_process and s.window_id = split_part(c, ':', 1)::bigint;
    end if;
  end loop;
  delete from budget_holds where process_id = p_process;
  get diagnostics v_holds = row_count;
  perform gateway_fold_slices(p_process, array(select window_id from budget_slices where process_id = p_process));
  delete from gateway_processes where id = p_process;
  return v_holds;
end
$$;
