import type { Clock } from '@holdfast/core';
import type { Slice } from './slice.ts';
import type { SliceTable } from './slice-table.ts';
import type { LeaseAnswer, LeaseRequest } from './spending-store.ts';

export interface WaitingLinePorts {
  readonly slices: SliceTable;
  readonly clock: Clock;
  /** The database's time in milliseconds since 1970. */
  readonly now: () => number;
  /** Null when the process was taken for dead. */
  readonly lease: (requests: readonly LeaseRequest[]) => Promise<readonly LeaseAnswer[] | null>;
  /** Resolves when everything of before is written. */
  readonly barrier: () => Promise<void>;
  /** How long a call waits for what other processes return, in milliseconds. */
  readonly recallMs: number;
  /** How long a call waits for the database, in milliseconds. */
  readonly patienceMs: number;
}

/**
 * `again`: time has moved on, look at the windows anew; `stale`: budgets have changed. Else the slice that has too little, or the error that
 * the database is away with.
 */
export type Turn = 'reserved' | 'again' | 'stale' | { readonly refusedBy: Slice } | { readonly failed: unknown };

/** What a call needs, one amount for each slice. */
export interface Demand {
  readonly slices: readonly Slice[];
  readonly amounts: readonly number[];
}

interface Waiter extends Demand {
  readonly resolve: (turn: Turn) => void;
  readonly since: number;
  readonly cancel: () => void;
}

/** What all who wait for a slice need, the first of them, and the most modest. */
interface Need {
  need: number;
  readonly first: number;
  least: number;
}

/** How long to give other processes to return what they have too much, between two looks: twice as long each time. */
const firstLookMs = 5;
const longestLookMs = 80;

/**
 * Reserves at all levels at once, from memory when the slices have enough. Calls that must wait stand in one line: one
 * lease fetches what all of them need, and then they are served in order.
 */
export class WaitingLine {
  readonly #o: WaitingLinePorts;
  readonly #waiters = new Set<Waiter>();
  #pumping = false;
  #lookMs = firstLookMs;

  constructor(ports: WaitingLinePorts) {
    this.#o = ports;
  }

  /** True when all of it was reserved, without waiting; nobody who waits is overtaken. */
  tryReserve(demand: Demand): boolean {
    const { slices, amounts } = demand;
    for (const slice of slices) if (slice.waiting > 0) return false;
    return this.#reserve(slices, amounts);
  }

  wait(demand: Demand): Promise<Turn> {
    const { clock, patienceMs } = this.#o;
    return new Promise((resolve) => {
      const cancel = clock.after(patienceMs, () => this.#end(waiter, { failed: new Error('timed out') }));
      const waiter: Waiter = { ...demand, resolve, since: clock.monotonic(), cancel };
      for (const slice of demand.slices) slice.waiting += 1;
      this.#waiters.add(waiter);
      if (!this.#pumping) {
        this.#pumping = true;
        // Calls that arrive in the same turn of the event loop are fetched for together.
        setImmediate(() => void this.#pump());
      }
    });
  }

  /** Sends everybody back to look anew, or away with an error. */
  dismiss(turn: Turn): void {
    for (const waiter of this.#waiters) this.#end(waiter, turn);
  }

  async #pump(): Promise<void> {
    try {
      while (this.#waiters.size > 0) await this.#round();
    } catch (error) {
      this.dismiss({ failed: error });
    } finally {
      this.#pumping = false;
    }
  }

  async #round(): Promise<void> {
    const needs = this.#needs();
    const unsure = [...needs.keys()].some((slice) => slice.windowId === null || slice.changed || slice.uncertain);
    if (unsure) {
      // A slice that was just folded, or that returns what it has, must be through with that before it is leased again.
      await this.#o.barrier();
    } else if (needs.size > 0 && !(await this.#fetch(needs))) return;
    if (unsure) {
      const fresh = this.#needs();
      if (fresh.size > 0 && !(await this.#fetch(fresh))) return;
    }
    if (!this.#serve()) {
      this.#lookMs = firstLookMs;
      return;
    }
    await this.#o.clock.sleep(this.#lookMs);
    this.#lookMs = Math.min(this.#lookMs * 2, longestLookMs);
  }

  /** What the slices lack for all who wait. */
  #needs(): Map<Slice, Need> {
    const needs = new Map<Slice, Need>();
    for (const { slices, amounts } of this.#waiters)
      slices.forEach((slice, i) => {
        const amount = amounts[i] ?? 0;
        const sum = needs.get(slice);
        if (sum === undefined) needs.set(slice, { need: amount, first: amount, least: amount });
        else {
          sum.need += amount;
          sum.least = Math.min(sum.least, amount);
        }
      });
    for (const [slice, { need }] of needs) if (slice.gone || slice.has(need)) needs.delete(slice);
    return needs;
  }

  /** @returns false when the process was taken for dead and everybody was sent back */
  async #fetch(needs: ReadonlyMap<Slice, Need>): Promise<boolean> {
    const wanted = [...needs];
    for (const [slice] of wanted) slice.wasUnwritten = slice.unwritten;
    const requests = wanted.map(
      ([slice, { need, first, least }]): LeaseRequest => ({
        budget: slice.budget.id,
        subject: slice.subject,
        starts: slice.startMs,
        ends: slice.endMs,
        need: Math.max(need - slice.free, 0),
        first,
        least: Math.max(least - slice.free, 0),
        want: slice.want(first),
        revision: slice.budget.revision,
      }),
    );
    const answers = await this.#o.lease(requests).catch((error: unknown) => {
      for (const [slice] of wanted) slice.uncertain = true;
      throw error;
    });
    if (answers === null) {
      this.dismiss('again');
      return false;
    }
    wanted.forEach(([slice], i) => {
      const answer = answers[i];
      if (answer === undefined) return;
      slice.granted(answer);
      this.#o.slices.leased(slice);
      if (answer.windowId === null) this.#sendBack(slice);
    });
    return true;
  }

  /** The budget has changed: whoever waits for it must know it anew. */
  #sendBack(slice: Slice): void {
    for (const waiter of this.#waiters) if (waiter.slices.includes(slice)) this.#end(waiter, 'stale');
  }

  /** @returns true when somebody goes on waiting for what others return */
  #serve(): boolean {
    const now = this.#o.now();
    const monotonic = this.#o.clock.monotonic();
    let hoping = false;
    for (const waiter of this.#waiters) {
      const { slices, amounts } = waiter;
      if (slices.some((slice) => slice.gone || !slice.covers(now))) this.#end(waiter, 'again');
      else if (this.#reserve(slices, amounts)) this.#end(waiter, 'reserved');
      else {
        const lacking = slices.find((slice, i) => slice.short && !slice.has(amounts[i] ?? 0));
        if (lacking === undefined) continue;
        const hopes = lacking.wasUnwritten || (lacking.others && monotonic - waiter.since < this.#o.recallMs);
        if (hopes) {
          hoping = true;
          this.#o.slices.touch(lacking);
        } else this.#end(waiter, { refusedBy: lacking });
      }
    }
    return hoping;
  }

  #reserve(slices: readonly Slice[], amounts: readonly number[]): boolean {
    for (let i = 0; i < slices.length; i += 1) if (slices[i]?.has(amounts[i] ?? 0) !== true) return false;
    const monotonic = this.#o.clock.monotonic();
    slices.forEach((slice, i) => void slice.reserve(amounts[i] ?? 0, monotonic));
    return true;
  }

  #end(waiter: Waiter, turn: Turn): void {
    if (!this.#waiters.delete(waiter)) return;
    waiter.cancel();
    for (const slice of waiter.slices) {
      slice.waiting -= 1;
      this.#o.slices.touch(slice);
    }
    waiter.resolve(turn);
  }
}
