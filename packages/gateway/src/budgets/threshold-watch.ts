import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import type { EventSink } from '../events/event.ts';
import type { Slice } from './slice.ts';

/** Windows looked at in one query. */
const maxWindows = 1_000;

/**
 * Publishes an event when what was spent of a window passes a threshold of its budget. It looks now and then, off the path
 * of calls; processes that see the same thing publish events with the same `once`, of which one is kept.
 */
export class ThresholdWatch {
  readonly #database: Database;
  readonly #events: EventSink;
  /** Percent that was told of each slice. */
  readonly #told = new WeakMap<Slice, number>();
  readonly #exhausted = new WeakSet<Slice>();
  #touched = new Set<Slice>();

  constructor(database: Database, events: EventSink) {
    this.#database = database;
    this.#events = events;
  }

  /** Calls have spent of it since the last look. */
  touch(slice: Slice): void {
    const { thresholds } = slice.budget;
    const last = thresholds.at(-1);
    if (last !== undefined && (this.#told.get(slice) ?? 0) < last) this.#touched.add(slice);
  }

  /** A call was refused. */
  refused(slice: Slice): void {
    if (this.#exhausted.has(slice) || slice.budget.unit !== 'micro_usd') return;
    this.#exhausted.add(slice);
    this.#publish(slice, 'budget.exhausted', 'exhausted', {});
  }

  /** Throws what the database does; what was to be looked at is looked at next time. */
  async look(): Promise<void> {
    const slices = [...this.#touched].filter((slice) => slice.windowId !== null).slice(0, maxWindows);
    if (slices.length === 0) return;
    const { rows } = await sql<{ id: number; spent: number }>`
      select w.id, (w.spent + coalesce((select sum(s.spent) from budget_slices s where s.window_id = w.id), 0))::bigint as spent
      from budget_windows w where w.id = any (${slices.map((slice) => slice.windowId)}::bigint[])`.execute(
      this.#database.kysely,
    );
    const spent = new Map(rows.map((row) => [row.id, row.spent]));
    for (const slice of slices) {
      this.#touched.delete(slice);
      this.#compare(slice, spent.get(slice.windowId ?? -1) ?? 0);
    }
  }

  #compare(slice: Slice, spent: number): void {
    const told = this.#told.get(slice) ?? 0;
    for (const percent of slice.budget.thresholds) {
      if (percent <= told || spent * 100 < slice.budget.amount * percent) continue;
      this.#told.set(slice, percent);
      this.#publish(slice, 'budget.threshold', String(percent), { percent, spent });
    }
  }

  #publish(
    slice: Slice,
    type: 'budget.threshold' | 'budget.exhausted',
    what: string,
    facts: Readonly<Record<string, unknown>>,
  ): void {
    const { budget, subject, startMs, endMs } = slice;
    const { unit, scope, period, amount, endpoint, workspaceId } = budget;
    const data = { unit, scope, subjectId: subject === '' ? null : subject, endpoint, period, amount, ...facts };
    this.#events.publish({
      workspaceId,
      type,
      subject: budget.id,
      data: { ...data, windowStart: startMs, windowEnd: endMs },
      once: `budget:${budget.id}:${subject}:${startMs}:${what}`,
    });
  }
}
