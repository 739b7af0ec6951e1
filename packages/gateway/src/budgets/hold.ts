import { HoldfastError } from '@holdfast/core';
import { abandonedRow, attemptRow } from '../ledger/attempt-row.ts';
import { type AttemptRecord, attemptId } from '../ledger/ledger.ts';
import type { BudgetUnit } from './budget.ts';
import type { Slice } from './slice.ts';
import type { CallFacts, Hold } from './spending.ts';
import type { Charge, EndWrite } from './write-batch.ts';

export interface HoldParts {
  readonly facts: CallFacts;
  readonly slices: readonly Slice[];
  /** What was reserved of each. */
  readonly reserved: readonly number[];
  readonly processId: string;
  readonly admittedAtMs: number;
  /** Monotonic instant from which the hold counts as forgotten. */
  readonly expiresAt: number;
  readonly ports: HoldPorts;
}

/** What every hold of a process shares. */
export interface HoldPorts {
  readonly end: (end: EndWrite) => void;
  readonly touch: (slice: Slice) => void;
  readonly closed: (id: string) => void;
}

/** What a finished attempt charges a budget of that unit. */
const amountOf = (unit: BudgetUnit, attempt: AttemptRecord): number => {
  if (unit === 'micro_usd') return attempt.costMicroUsd === null ? 0 : Number(attempt.costMicroUsd);
  if (unit === 'requests' || attempt.usage === null) return 0;
  const { inputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens, outputTokens } = attempt.usage;
  return inputTokens + cacheReadTokens + cacheWrite5mTokens + cacheWrite1hTokens + outputTokens;
};

/** Negative costs would give budgets back what they never had. */
const checkCost = ({ id, costMicroUsd, usage }: AttemptRecord): void => {
  const counts = usage === null ? [] : Object.values(usage);
  const good = (costMicroUsd ?? 0n) >= 0n && (costMicroUsd ?? 0n) <= BigInt(Number.MAX_SAFE_INTEGER);
  if (good && counts.every((count) => Number.isSafeInteger(count) && count >= 0)) return;
  throw new HoldfastError('request.invalid', 'Costs and tokens of an attempt are whole and not negative.', { id });
};

/** A reservation at every level of one call. */
export class OpenHold implements Hold {
  readonly id: string;
  readonly expiresAt: number;
  readonly #parts: HoldParts;
  /** What each slice was charged so far. */
  readonly #charged: number[];
  #recorded: Set<string> | null = null;
  #ended: Promise<void> | null = null;

  constructor(parts: HoldParts) {
    this.id = parts.facts.callId;
    this.expiresAt = parts.expiresAt;
    this.#parts = parts;
    this.#charged = parts.slices.map(() => 0);
  }

  get reservedMicroUsd(): bigint {
    return this.#parts.facts.worstCaseMicroUsd ?? 0n;
  }

  record(attempt: AttemptRecord): void {
    if (this.#ended !== null) return;
    try {
      checkCost(attempt);
    } catch {
      // Whoever settles hears of it.
      return;
    }
    const charge = this.#chargeOf(attempt);
    if (charge !== null) this.#send(null, [charge], () => undefined);
  }

  settle(attempts: readonly AttemptRecord[]): Promise<void> {
    if (this.#ended !== null) return this.#ended;
    try {
      attempts.forEach(checkCost);
    } catch (error) {
      return Promise.reject(error);
    }
    const charges = attempts.map((attempt) => this.#chargeOf(attempt)).filter((charge) => charge !== null);
    const made = attempts.length > 0 || this.#recorded !== null;
    if (made) charges.push(this.#chargeRequest());
    return this.#end(charges);
  }

  release(): Promise<void> {
    return this.#ended ?? (this.#recorded === null ? this.#end([]) : this.settle([]));
  }

  /** Nobody settled it in time: its input is charged. */
  expire(latencyMs: number): Promise<void> {
    if (this.#ended !== null) return this.#ended;
    const { facts, slices, admittedAtMs } = this.#parts;
    const attempt = (this.#recorded?.size ?? 0) + 1;
    const start = { ...facts.first, attempt, id: attemptId(facts.callId, attempt) };
    const row = abandonedRow(abandonedOf({ ...facts, first: start }), admittedAtMs, latencyMs);
    return this.#end([{ attempt: row, amounts: this.#charge(sweptAmounts(facts, slices)) }]);
  }

  #chargeOf(attempt: AttemptRecord): Charge | null {
    if (this.#recorded?.has(attempt.id) === true) return null;
    this.#recorded ??= new Set();
    this.#recorded.add(attempt.id);
    const { slices, admittedAtMs } = this.#parts;
    const amounts = slices.map((slice) => amountOf(slice.budget.unit, attempt));
    return { attempt: attemptRow(attempt, admittedAtMs), amounts: this.#charge(amounts) };
  }

  /** However many attempts a call needed, it is one request. */
  #chargeRequest(): Charge {
    const amounts = this.#parts.slices.map((slice) => (slice.budget.unit === 'requests' ? 1 : 0));
    return { attempt: null, amounts: this.#charge(amounts) };
  }

  #charge(amounts: number[]): number[] {
    amounts.forEach((amount, i) => {
      this.#charged[i] = (this.#charged[i] ?? 0) + amount;
    });
    return amounts;
  }

  #end(charges: readonly Charge[]): Promise<void> {
    const { slices, reserved, ports } = this.#parts;
    slices.forEach((slice, i) => {
      slice.settle(reserved[i] ?? 0, this.#charged[i] ?? 0);
      ports.touch(slice);
    });
    ports.closed(this.id);
    this.#ended = new Promise((resolve, reject) => {
      const done = (error: unknown): void => {
        if (error === null) resolve();
        else reject(error);
      };
      this.#send(this.id, charges, done);
    });
    // The caller hears of it through the promise it got; one that does not listen must not end the process.
    this.#ended.catch(() => undefined);
    return this.#ended;
  }

  #send(closes: string | null, charges: readonly Charge[], done: (error: unknown) => void): void {
    const { processId, slices, ports } = this.#parts;
    ports.end({ processId, closes, slices, charges, done });
  }
}

/** What each slice is charged for a call that nobody lived to settle. */
export const sweptAmounts = (facts: CallFacts, slices: readonly Slice[]): number[] =>
  slices.map(({ budget }) => {
    if (budget.unit === 'requests') return 1;
    return budget.unit === 'tokens' ? facts.inputTokens : Number(facts.inputMicroUsd);
  });

export const abandonedOf = (facts: CallFacts) => ({
  start: facts.first,
  scopes: facts.scopes,
  inputTokens: facts.inputTokens,
  inputMicroUsd: facts.worstCaseMicroUsd === null ? null : Number(facts.inputMicroUsd),
});
