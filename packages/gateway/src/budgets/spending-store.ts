import type { Database } from '@holdfast/db';
import { CompiledQuery, sql } from 'kysely';
import type { Budget } from './budget.ts';

/** One transaction's worth of a process's writes; the arrays over windows run in parallel. */
export interface WriteBatch {
  /** Rises with every batch; a repeated one changes nothing. */
  readonly number: number;
  /** Rows of new holds, null when there is none. */
  readonly holds: string | null;
  /** The generation of the budgets that the holds of each workspace were checked against. */
  readonly generations: ReadonlyMap<string, number>;
  readonly closed: readonly string[];
  /** Rows of the ledger, null when there is none. */
  readonly attempts: string | null;
  readonly windows: readonly WindowChange[];
  /** Windows whose slice ends. */
  readonly folded: readonly number[];
  /** JSON array of `{attempt, windows, amounts}`, null when there is none. */
  readonly late: string | null;
}

export interface WindowChange {
  readonly windowId: number;
  readonly spent: number;
  /** Negative: the slice takes what it overspent. */
  readonly returned: number;
  /** Some amount is in the slice that no call has reserved. */
  readonly loose: boolean;
  /** What the process knows to have been granted, when it missed the answer to a lease. */
  readonly known: number | null;
}

export interface WriteAnswer {
  /** The process was taken for dead: nothing was written, its holds were swept and its slices are gone. */
  readonly fenced: boolean;
  /** Calls whose hold was refused since the budgets of their workspace have changed. */
  readonly refused: readonly string[];
  /** The database's time in milliseconds since 1970. */
  readonly atMs: number;
}

export interface LeaseRequest {
  readonly budget: string;
  readonly subject: string;
  readonly starts: number;
  readonly ends: number | null;
  /** What all waiting calls need on top of what is there, what the first one does, and what would be nice to have. */
  readonly need: number;
  readonly first: number;
  /** What the one that needs least lacks. */
  readonly least: number;
  readonly want: number;
  /** Of the budget as the process knows it. */
  readonly revision: number;
}

export interface LeaseAnswer {
  /** Null when the budget has changed or is gone: nothing was granted. */
  readonly windowId: number | null;
  readonly granted: number;
  /** Less was granted than needed: there is no more. */
  readonly short: boolean;
  /** The budget is so near its end that nothing was granted on top. */
  readonly tight: boolean;
  /** Another process may have some of it unused, and was asked to return it. */
  readonly others: boolean;
}

export interface ProcessRow {
  readonly id: string;
  readonly place: string;
  readonly pid: number;
  readonly born: string;
  readonly seenAt: Date;
}

/**
 * The statements behind budgets; each is one round trip and one transaction. Connections repeat a statement that begins
 * with `select` when its answer is lost; those that begin with a comment change rows, and are not repeated behind our back.
 */
export class SpendingStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async register(process: Omit<ProcessRow, 'seenAt'>): Promise<void> {
    const { id, place, pid, born } = process;
    await this.#database.kysely.insertInto('gateway_processes').values({ id, place, pid, born }).execute();
  }

  async write(processId: string, batch: WriteBatch): Promise<WriteAnswer> {
    const { windows, generations } = batch;
    const { rows } = await this.#database.kysely.executeQuery<WriteRow>(
      CompiledQuery.raw(writeSql, [
        processId,
        batch.number,
        batch.holds,
        [...generations.keys()],
        [...generations.values()],
        batch.closed,
        batch.attempts,
        windows.map((w) => w.windowId),
        windows.map((w) => w.spent),
        windows.map((w) => w.returned),
        windows.map((w) => w.loose),
        windows.map((w) => w.known),
        batch.folded,
        batch.late,
      ]),
    );
    const row = rows[0];
    return { fenced: row?.fenced ?? true, refused: row?.refused ?? [], atMs: row?.at_ms ?? 0 };
  }

  /** Answers in the order of the requests; null when the process was taken for dead. */
  async lease(processId: string, requests: readonly LeaseRequest[]): Promise<LeaseAnswer[] | null> {
    const { rows } = await sql<{
      ord: number;
      window_id: number | null;
      granted: number;
      short: boolean;
      tight: boolean;
      others: boolean;
    }>`/* changes */ select * from gateway_lease(${processId}, ${JSON.stringify(requests.map((r, ord) => ({ ord, ...r })))})`.execute(
      this.#database.kysely,
    );
    if (rows.length < requests.length) return null;
    return rows
      .toSorted((a, b) => a.ord - b.ord)
      .map(({ window_id, granted, short, tight, others }) => ({ windowId: window_id, granted, short, tight, others }));
  }

  async processes(): Promise<{ readonly rows: ProcessRow[]; readonly now: Date }> {
    const { rows } = await sql<{
      id: string;
      place: string;
      pid: number;
      born: string;
      seen_at: Date;
      now: Date;
    }>`select id, place, pid, born, seen_at, clock_timestamp() as now from gateway_processes limit 1000`.execute(
      this.#database.kysely,
    );
    const [first] = rows;
    return { rows: rows.map((r) => ({ ...r, seenAt: r.seen_at })), now: first?.now ?? new Date(0) };
  }

  /**
   * Settles what a dead process left. Without `force` only one that was silent since then.
   * @returns how many calls were swept, null when it lives or is gone
   */
  async reclaim(processId: string, silentSince: Date, force: boolean): Promise<number | null> {
    const { rows } = await sql<{ holds: number | null }>`
      /* changes */ select gateway_reclaim(${processId}, ${silentSince}, ${force}) as holds`.execute(
      this.#database.kysely,
    );
    return rows[0]?.holds ?? null;
  }

  /** Deletes windows that nobody asks for any more, some at a time. @returns how many */
  async prune(): Promise<number> {
    const { rows } = await sql<{ id: number }>`
      delete from budget_windows where id in (
        select w.id from budget_windows w where w.prune_at < clock_timestamp()
          and not exists (select from budget_slices s where s.window_id = w.id)
        order by w.prune_at limit 500 for update skip locked
      ) returning id`.execute(this.#database.kysely);
    return rows.length;
  }

  /** Budgets of a workspace that were made, changed or removed since that generation, and the generation now. */
  async budgetsSince(
    workspaceId: string,
    generation: number,
  ): Promise<{ readonly generation: number; readonly changed: (Budget & { readonly removed: boolean })[] }> {
    const { kysely } = this.#database;
    // First the generation: what changes between the two statements is then read again, and never missed.
    const now = await kysely
      .selectFrom('budget_generations')
      .select('generation')
      .where('workspace_id', '=', workspaceId)
      .executeTakeFirst();
    const rows = await kysely
      .selectFrom('budgets')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('generation', '>', generation)
      .execute();
    return {
      generation: now?.generation ?? 0,
      changed: rows.map((row) => ({ ...budgetOf(row), removed: row.removed_at !== null })),
    };
  }

  async now(): Promise<number> {
    const { rows } = await sql<{ at_ms: number }>`
      select extract(epoch from clock_timestamp())::float8 * 1000 as at_ms`.execute(this.#database.kysely);
    return rows[0]?.at_ms ?? 0;
  }
}

interface WriteRow {
  readonly fenced: boolean;
  readonly refused: string[] | null;
  readonly at_ms: number;
}

/** Written out, since every call waits for it: building it anew each time costs more than sending it. */
const writeSql = `/* changes */ select * from gateway_write(${Array.from({ length: 14 }, (_, i) => `$${i + 1}`).join(', ')})`;

interface BudgetColumns {
  readonly id: string;
  readonly workspace_id: string;
  readonly unit: Budget['unit'];
  readonly scope: Budget['scope'];
  readonly subject_id: string;
  readonly endpoint: string;
  readonly period: Budget['period'];
  readonly time_zone: string;
  readonly amount: number;
  readonly hard: boolean;
  readonly thresholds: number[];
  readonly generation: number;
}

export const budgetOf = (row: BudgetColumns): Budget => ({
  id: row.id,
  workspaceId: row.workspace_id,
  unit: row.unit,
  scope: row.scope,
  subjectId: row.subject_id === '' ? null : row.subject_id,
  endpoint: row.endpoint === '' ? null : row.endpoint,
  period: row.period,
  timeZone: row.time_zone,
  amount: row.amount,
  hard: row.hard,
  thresholds: row.thresholds,
  revision: row.generation,
});
