import type { AttemptRow, UsageGroup, UsageRow } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { type RawBuilder, sql } from 'kysely';
import { z } from 'zod';
import { isTimeZone } from '../budgets/window.ts';

export interface UsageQuery {
  readonly since: Date;
  readonly until: Date;
  readonly by: readonly UsageGroup[];
  /** IANA name, for days. */
  readonly timeZone: string;
  readonly limit: number;
}

const columnOf: Readonly<Record<Exclude<UsageGroup, 'day'>, string>> = {
  endpoint: 'endpoint',
  route: 'route',
  variant: 'variant',
  provider: 'provider',
  model: 'provider_model',
  team: 'team_id',
  user: 'user_id',
  key: 'key_id',
  agent: 'agent_id',
  run: 'run_id',
};

const expressionOf = (group: UsageGroup, timeZone: string): RawBuilder<unknown> =>
  group === 'day' ? sql`to_char(started_at at time zone ${sql.lit(timeZone)}, 'YYYY-MM-DD')` : sql.ref(columnOf[group]);

type Sums = Omit<UsageRow, 'group'>;

/** Sums over the ledger, the dearest group first. Errors: `request.invalid` for a time zone that does not exist. */
export const usageReport = async (database: Database, workspaceId: string, query: UsageQuery): Promise<UsageRow[]> => {
  // It is written into the statement, since groups and columns must be the same text to PostgreSQL.
  if (!isTimeZone(query.timeZone) || !/^[A-Za-z0-9_+/-]{1,64}$/.test(query.timeZone))
    throw new HoldfastError('request.invalid', 'There is no such time zone.', { field: 'timeZone' });
  const groups = [...new Set(query.by)];
  const columns = groups.map((group) => expressionOf(group, query.timeZone));
  const { rows } = await sql<Sums & { keys: (string | null)[] }>`
    select array[${sql.join(columns)}]::text[] as keys,
      count(distinct call_id)::int as calls, count(*)::int as attempts,
      count(error_class)::int as failed, count(cache)::int as cached,
      coalesce(sum(input_tokens), 0)::bigint as "inputTokens",
      coalesce(sum(cache_read_tokens), 0)::bigint as "cacheReadTokens",
      coalesce(sum(cache_write_5m_tokens), 0)::bigint + coalesce(sum(cache_write_1h_tokens), 0)::bigint as "cacheWriteTokens",
      coalesce(sum(output_tokens), 0)::bigint as "outputTokens",
      coalesce(sum(reasoning_tokens), 0)::bigint as "reasoningTokens",
      coalesce(sum(cost_micro_usd), 0)::bigint as "costMicroUsd",
      (count(*) filter (where cost_micro_usd is null and output_tokens is not null))::int as unpriced
    from model_attempts
    where workspace_id = ${workspaceId} and started_at >= ${query.since} and started_at < ${query.until}
    group by ${sql.join(columns)}
    order by "costMicroUsd" desc, attempts desc, keys limit ${query.limit}`.execute(database.kysely);
  return rows.map(({ keys, ...sums }) => ({
    group: Object.fromEntries(groups.map((group, i) => [group, keys[i] ?? null])),
    ...sums,
  }));
};

const tags = z.record(z.string(), z.string());

/** One page of the ledger, newest first; the cursor is the last id of a page. */
export const readAttempts = async (
  database: Database,
  workspaceId: string,
  page: { readonly limit: number; readonly cursor: string | undefined; readonly run: string | undefined },
): Promise<{ items: AttemptRow[]; cursor: string | null }> => {
  let query = database.kysely.selectFrom('model_attempts').selectAll().where('workspace_id', '=', workspaceId);
  if (page.run !== undefined) query = query.where('run_id', '=', page.run);
  const { cursor } = page;
  if (cursor !== undefined)
    query = query.where(
      sql<boolean>`(started_at, id) < (select m.started_at, m.id from model_attempts m where m.workspace_id = ${workspaceId} and m.id = ${cursor})`,
    );
  const rows = await query
    .orderBy('started_at', 'desc')
    .orderBy('id', 'desc')
    .limit(page.limit + 1)
    .execute();
  const items = rows.slice(0, page.limit).map((row) => ({
    ...{ id: row.id, callId: row.call_id, attempt: row.attempt, at: row.started_at.toISOString() },
    ...{ endpoint: row.endpoint, requestedModel: row.requested_model, route: row.route, variant: row.variant },
    ...{ provider: row.provider, model: row.provider_model, responseModel: row.response_model },
    ...{ recorded: row.recorded, streamed: row.streamed, cache: row.cache, status: row.status },
    ...{ error: row.error_class, usageSource: row.usage_source },
    ...{ inputTokens: row.input_tokens, cacheReadTokens: row.cache_read_tokens },
    ...{ cacheWrite5mTokens: row.cache_write_5m_tokens, cacheWrite1hTokens: row.cache_write_1h_tokens },
    ...{ outputTokens: row.output_tokens, reasoningTokens: row.reasoning_tokens },
    ...{ costMicroUsd: row.cost_micro_usd, priceVersion: row.price_version },
    ...{ latencyMs: row.latency_ms, firstTokenMs: row.first_token_ms },
    ...{ teamId: row.team_id, userId: row.user_id, keyId: row.key_id, agentId: row.agent_id },
    ...{ runId: row.run_id, step: row.step, traceId: row.trace_id, tags: tags.parse(row.tags) },
  }));
  return { items, cursor: rows.length > page.limit ? (items.at(-1)?.id ?? null) : null };
};
