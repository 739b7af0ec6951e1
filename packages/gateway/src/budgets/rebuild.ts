import type { Database, Schema } from '@holdfast/db';
import { sql, type Transaction } from 'kysely';
import type { Budget, BudgetScope } from './budget.ts';
import { budgetOf } from './spending-store.ts';
import { windowOf } from './window.ts';

/** A window whose sum was not that of the ledger. */
export interface Correction {
  readonly budgetId: string;
  readonly subjectId: string | null;
  readonly startsAt: Date;
  /** Micro-dollars. */
  readonly before: number;
  readonly after: number;
}

export interface RebuildReport {
  /** Windows that were compared. */
  readonly windows: number;
  readonly corrected: readonly Correction[];
}

/** How long windows in dollars are kept after their end: 400 days. */
const keptMs = 34_560_000_000;

const scopeColumns: Readonly<Record<BudgetScope, string | null>> = {
  workspace: null,
  team: 'team_id',
  user: 'user_id',
  key: 'key_id',
  agent: 'agent_id',
  run: 'run_id',
};

/**
 * Sets what was spent of every budget in dollars to what the ledger says, and makes the windows that are open now where
 * they are missing. Calls may go on meanwhile: what is reserved is not touched, and rows of the ledger and what slices
 * spent change together.
 */
export const rebuildBudgets = (database: Database, workspaceId: string): Promise<RebuildReport> =>
  database.kysely.transaction().execute(async (trx) => {
    const rows = await trx
      .selectFrom('budgets')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('unit', '=', 'micro_usd')
      .where('removed_at', 'is', null)
      .execute();
    const { rows: times } = await sql<{ at_ms: number }>`
      select extract(epoch from clock_timestamp())::float8 * 1000 as at_ms`.execute(trx);
    for (const budget of rows.map(budgetOf)) await ensureWindows(trx, budget, times[0]?.at_ms ?? 0);
    // First all locks, then one statement and so one view of ledger and slices, in which both say the same.
    const before = await trx
      .selectFrom('budget_windows')
      .select(['id', 'spent'])
      .where('workspace_id', '=', workspaceId)
      .orderBy('id')
      .forUpdate()
      .execute();
    return await correct(trx, workspaceId, new Map(before.map(({ id, spent }) => [id, spent])));
  });

/** The window that is open now, for each subject that has spent in it. */
const ensureWindows = async (trx: Transaction<Schema>, budget: Budget, atMs: number): Promise<void> => {
  const { startMs, endMs } = windowOf(budget.period, budget.timeZone, atMs);
  const column = scopeColumns[budget.scope];
  const subjects =
    column === null
      ? sql`select ''`
      : sql`select distinct ${sql.ref(column)} from model_attempts where workspace_id = ${budget.workspaceId}
          and admitted_at >= ${new Date(startMs)} and ${sql.ref(column)} is not null
          and (${budget.subjectId}::text is null or ${sql.ref(column)} = ${budget.subjectId})`;
  await sql`
    insert into budget_windows (budget_id, workspace_id, subject_id, starts_at, ends_at, prune_at)
    select ${budget.id}, ${budget.workspaceId}, s.subject_id, ${new Date(startMs)}, ${endMs === null ? null : new Date(endMs)},
      ${endMs === null ? null : new Date(endMs + keptMs)}
    from (${subjects}) as s(subject_id) on conflict do nothing`.execute(trx);
};

const correct = async (
  trx: Transaction<Schema>,
  workspaceId: string,
  before: ReadonlyMap<number, number>,
): Promise<RebuildReport> => {
  const { rows } = await sql<{ id: number; budget_id: string; subject_id: string; starts_at: Date; spent: number }>`
    with sums as (
      select w.id, coalesce(sum(a.cost_micro_usd), 0)::bigint as cost,
        coalesce((select sum(s.spent) from budget_slices s where s.window_id = w.id), 0)::bigint as slices_spent,
        coalesce((select sum(s.granted) from budget_slices s where s.window_id = w.id), 0)::bigint as slices_granted
      from budget_windows w
      join budgets b on b.id = w.budget_id and b.unit = 'micro_usd' and b.removed_at is null
      left join model_attempts a on a.workspace_id = w.workspace_id
        and a.admitted_at >= greatest(w.starts_at, b.created_at) and (w.ends_at is null or a.admitted_at < w.ends_at)
        and (b.endpoint = '' or a.endpoint = b.endpoint)
        and case b.scope when 'workspace' then true when 'team' then a.team_id = w.subject_id
          when 'user' then a.user_id = w.subject_id when 'key' then a.key_id = w.subject_id
          when 'agent' then a.agent_id = w.subject_id else a.run_id = w.subject_id end
        -- While a subject has a budget of its own, that stands in for the one that each has.
        and not exists (select from budgets o where b.subject_id = '' and b.scope <> 'workspace'
          and o.workspace_id = b.workspace_id and o.subject_id = w.subject_id and o.scope = b.scope and o.unit = b.unit
          and o.endpoint = b.endpoint and o.period = b.period and o.hard = b.hard and o.created_at <= a.admitted_at
          and (o.removed_at is null or o.removed_at > a.admitted_at))
      where w.workspace_id = ${workspaceId} group by w.id
    )
    update budget_windows w set spent = s.cost - s.slices_spent, debited = s.cost - s.slices_spent + s.slices_granted
    from sums s where w.id = s.id
    returning w.id, w.budget_id, w.subject_id, w.starts_at, w.spent`.execute(trx);
  const corrected = rows
    .filter((row) => row.spent !== before.get(row.id))
    .map((row) => ({
      budgetId: row.budget_id,
      subjectId: row.subject_id === '' ? null : row.subject_id,
      startsAt: row.starts_at,
      before: before.get(row.id) ?? 0,
      after: row.spent,
    }));
  return { windows: rows.length, corrected };
};
