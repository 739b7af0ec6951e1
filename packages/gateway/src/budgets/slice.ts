import type { Budget } from './budget.ts';
import type { LeaseAnswer, WindowChange } from './spending-store.ts';
import type { Window } from './window.ts';

/**
 * What this process may spend of one window of a budget without asking: `free` is what no call has reserved. All of it was
 * debited from the window in the database before it came here, so nothing that happens here can overspend.
 */
export class Slice {
  readonly subject: string;
  readonly startMs: number;
  readonly endMs: number | null;
  budget: Budget;
  /** Known from the first lease on. */
  windowId: number | null = null;
  /** Negative when calls cost more than they had reserved; of a budget that is not hard always zero or negative. */
  free = 0;
  /** Calls that have reserved, and calls that wait. */
  open = 0;
  waiting = 0;
  /** Unused amounts go back at once: the budget is near its end, or somebody asked for them. */
  tight = true;
  /** No call will reserve here again: the window ended, or the budget changed. */
  retired = false;
  /** The budget changed: what is free goes back before anything is leased anew. */
  changed = false;
  /** The answer to a lease was lost: the next write says what is known. */
  uncertain = false;
  /** The database was told to have handed over more than is reserved. */
  looseThere = false;
  /** The slice is no more: it was folded, or the process was taken for dead. */
  gone = false;
  /** Something that it returns or straightens out is on its way to the database: until then less is there than will be. */
  unwritten = false;
  /** It was when the last lease was asked for. */
  wasUnwritten = false;
  /** When it was last reserved from, on the monotonic clock. */
  usedAt = 0;
  short = false;
  others = false;
  #granted = 0;
  /** Reserved since the last lease: how much to ask for. */
  #demand = 0;

  constructor(budget: Budget, subject: string, window: Window) {
    this.budget = budget;
    this.subject = subject;
    this.startMs = window.startMs;
    this.endMs = window.endMs;
  }

  covers(atMs: number): boolean {
    return atMs >= this.startMs && (this.endMs === null || atMs < this.endMs);
  }

  /** True when a call that needs this much could reserve it now. */
  has(amount: number): boolean {
    if (this.windowId === null || this.changed || this.gone) return false;
    return !this.budget.hard || this.free >= amount;
  }

  /** @returns what is reserved: nothing of a budget that is not hard */
  reserve(amount: number, monotonicMs: number): number {
    this.open += 1;
    this.usedAt = monotonicMs;
    if (!this.budget.hard) return 0;
    this.free -= amount;
    this.#demand += amount;
    return amount;
  }

  /** Ends a reservation: what it was not charged is free again. */
  settle(reserved: number, charged: number): void {
    this.open -= 1;
    this.free += reserved - charged;
  }

  /** How much more than needed to lease: enough for four times as many calls as since the last time. */
  want(first: number): number {
    return Math.max(this.#demand * 4, first * 8);
  }

  granted(answer: LeaseAnswer): void {
    if (answer.windowId === null) return;
    this.windowId = answer.windowId;
    this.free += answer.granted;
    this.#granted += answer.granted;
    this.short = answer.short;
    this.others = answer.others;
    this.tight = answer.tight;
    if (answer.granted > 0) this.looseThere = true;
    this.#demand = 0;
  }

  /** Another budget row of the same window: its amount may be smaller, so what is here is leased again. */
  rebudget(budget: Budget): void {
    this.budget = budget;
    this.changed = true;
  }

  /**
   * What to write of it, with what its calls spent; null when there is nothing. What is returned is gone from here at
   * once. `settled` says that this is the time to debit what a budget that is not hard has spent.
   */
  takeChange(spent: number, settled: boolean): WindowChange | null {
    if (this.windowId === null) return null;
    const known = this.uncertain ? this.#granted : null;
    // Of a short slice those who wait have taken what they could: another process may need what is left.
    const unused = this.free > 0 && (this.waiting === 0 || this.short);
    const spare = unused && (this.tight || this.retired || this.changed);
    const debt = this.free < 0 && (this.budget.hard || settled || this.retired || this.changed);
    const returned = spare || debt || (this.changed && this.free !== 0) ? this.free : 0;
    this.free -= returned;
    this.#granted -= returned;
    this.changed = false;
    this.uncertain = false;
    const loose = this.free > 0;
    const tells = this.looseThere && !loose;
    if (tells) this.looseThere = false;
    if (returned > 0 || known !== null) this.unwritten = true;
    if (spent === 0 && returned === 0 && known === null && !tells) return null;
    return { windowId: this.windowId, spent, returned, loose, known };
  }

  /** Nothing of it is in use and nothing is left to return. */
  get spentUp(): boolean {
    if (this.open > 0 || this.waiting > 0) return false;
    return this.windowId === null || (this.free === 0 && !this.changed && !this.uncertain);
  }
}
