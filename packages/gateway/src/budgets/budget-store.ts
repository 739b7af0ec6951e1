import { type Clock, HoldfastError, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { type Budget, type BudgetInput, budgetInput } from './budget.ts';
import { budgetOf } from './spending-store.ts';

/** Budgets in force that a workspace may have; a budget for each of a scope is one. */
const maxBudgets = 10_000;

/** What may change of a budget; whose it is and what it counts may not. */
export interface BudgetChange {
  readonly amount?: number;
  readonly hard?: boolean;
  readonly thresholds?: readonly number[];
}

/** How full a budget is, for one subject and one window. Amounts in the unit of the budget. */
export interface BudgetUse {
  readonly budgetId: string;
  readonly subjectId: string | null;
  readonly startsAt: Date;
  readonly endsAt: Date | null;
  /** Settled. */
  readonly spent: number;
  /** Held by calls under way, or by processes for calls to come. */
  readonly reserved: number;
}

/** The budgets of workspaces as their owners see them. A change counts from the next call on, in every process. */
export class BudgetStore {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * Errors: `request.invalid` for amounts below 1, unknown time zones and the like, `resource.conflict` when there is one
   * for the same unit, scope, subject, endpoint and period, `quota.exceeded`.
   */
  async create(workspaceId: string, input: BudgetInput): Promise<Budget> {
    const parsed = budgetInput.safeParse(input);
    if (!parsed.success) throw invalid(parsed.error.issues.map(({ path, message }) => ({ path, message })));
    const { unit, scope, subjectId, endpoint, period, timeZone, amount, hard, thresholds } = parsed.data;
    const { kysely } = this.#database;
    const { count } = await kysely
      .selectFrom('budgets')
      .select((e) => e.fn.countAll<number>().as('count'))
      .where('workspace_id', '=', workspaceId)
      .where('removed_at', 'is', null)
      .executeTakeFirstOrThrow();
    if (count >= maxBudgets)
      throw new HoldfastError('quota.exceeded', `A workspace has at most ${maxBudgets} budgets.`, { maxBudgets });
    const id = newId('bgt', this.#clock);
    const row = await kysely
      .insertInto('budgets')
      .values({
        ...{ id, workspace_id: workspaceId, unit, scope, period, amount, hard, thresholds, time_zone: timeZone },
        ...{ subject_id: subjectId ?? '', endpoint: endpoint ?? '' },
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row !== undefined) return budgetOf(row);
    const details = { unit, scope, subjectId, endpoint, period };
    throw new HoldfastError('resource.conflict', 'There is such a budget already: change its amount.', details);
  }

  /** Errors: `resource.not_found`, `request.invalid`. */
  async change(workspaceId: string, id: string, change: BudgetChange): Promise<Budget> {
    const parsed = budgetInput.shape.amount.optional().safeParse(change.amount);
    const levels = budgetInput.shape.thresholds.safeParse(change.thresholds ?? []);
    if (!parsed.success || !levels.success) throw invalid([...(parsed.error?.issues ?? levels.error?.issues ?? [])]);
    const { amount, hard } = change;
    const rows = await this.#database.kysely
      .updateTable('budgets')
      .set((e) => ({
        amount: amount ?? e.ref('amount'),
        hard: hard ?? e.ref('hard'),
        thresholds: change.thresholds === undefined ? e.ref('thresholds') : levels.data,
      }))
      .where('workspace_id', '=', workspaceId)
      .where('id', '=', id)
      .where('removed_at', 'is', null)
      .returningAll()
      .execute();
    return budgetOf(found(rows[0], id));
  }

  /** The budget holds no call back any more. Errors: `resource.not_found`. */
  async remove(workspaceId: string, id: string): Promise<void> {
    const rows = await this.#database.kysely
      .updateTable('budgets')
      .set({ removed_at: sql`clock_timestamp()` })
      .where('workspace_id', '=', workspaceId)
      .where('id', '=', id)
      .where('removed_at', 'is', null)
      .returning('id')
      .execute();
    found(rows[0], id);
  }

  /** Errors: `resource.not_found`. */
  async get(workspaceId: string, id: string): Promise<Budget> {
    const [budget] = await this.#select(workspaceId, 1, '', id);
    return found(budget, id);
  }

  /** In the order they were made, `after` that id. */
  async list(workspaceId: string, page: { readonly limit: number; readonly after?: string }): Promise<Budget[]> {
    return await this.#select(workspaceId, page.limit, page.after ?? '', null);
  }

  /** Windows of a workspace's budgets that are open now, fullest use first; of one budget when `id` is given. */
  async uses(workspaceId: string, page: { readonly limit: number; readonly id?: string }): Promise<BudgetUse[]> {
    const { rows } = await sql<{
      budget_id: string;
      subject_id: string;
      starts_at: Date;
      ends_at: Date | null;
      spent: number;
      reserved: number;
    }>`
      select w.budget_id, w.subject_id, w.starts_at, w.ends_at, (w.spent + coalesce(s.spent, 0))::bigint as spent,
        coalesce(s.reserved, 0)::bigint as reserved
      from budget_windows w join budgets b on b.id = w.budget_id
      left join lateral (
        select sum(x.spent) as spent, sum(greatest(x.granted - x.spent, 0)) as reserved
        from budget_slices x where x.window_id = w.id
      ) s on true
      where w.workspace_id = ${workspaceId} and b.removed_at is null and (w.ends_at is null or w.ends_at > clock_timestamp())
        and (${page.id ?? null}::text is null or w.budget_id = ${page.id ?? null})
      order by (w.spent + coalesce(s.spent, 0))::float8 / b.amount desc, w.id limit ${page.limit}`.execute(
      this.#database.kysely,
    );
    return rows.map((row) => ({
      budgetId: row.budget_id,
      subjectId: row.subject_id === '' ? null : row.subject_id,
      startsAt: row.starts_at,
      endsAt: row.ends_at,
      spent: row.spent,
      reserved: row.reserved,
    }));
  }

  async #select(workspaceId: string, limit: number, after: string, id: string | null): Promise<Budget[]> {
    let query = this.#database.kysely
      .selectFrom('budgets')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('removed_at', 'is', null)
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit);
    if (id !== null) query = query.where('id', '=', id);
    return (await query.execute()).map(budgetOf);
  }
}

const invalid = (issues: readonly unknown[]): HoldfastError =>
  new HoldfastError('request.invalid', 'The budget is not valid.', { issues });

const found = <T>(row: T | undefined, id: string): T => {
  if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id });
  return row;
};
