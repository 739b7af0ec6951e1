import type { AttemptRecord, AttemptStart, Ledger, Scopes } from '../ledger/ledger.ts';

export type { Scopes } from '../ledger/ledger.ts';

/** What must be known of a call before it may begin. */
export interface CallFacts {
  /** Unique for ever, such as `mdl_…`; at most 64 characters. */
  readonly callId: string;
  readonly scopes: Scopes;
  /**
   * The most the call can cost, all its attempts together counted as one: the dearest candidate. Null: a candidate has
   * no price, which a hard budget in dollars refuses. Zero only when the model costs nothing.
   */
  readonly worstCaseMicroUsd: bigint | null;
  /** The estimated input at the price of the dearest candidate: what is charged when nobody lives to settle the call. */
  readonly inputMicroUsd: bigint;
  /** Input and output together. */
  readonly worstCaseTokens: number;
  readonly inputTokens: number;
  /** The attempt that is made first: what the sweeper writes when nobody lives to settle the call. */
  readonly first: AttemptStart;
  /** After this long an open hold counts as forgotten and is settled at input cost; an hour unless told. */
  readonly maxDurationMs?: number;
}

/**
 * The right to make one call. Exactly one of `settle` and `release` ends it, and the first one called wins; a hold that
 * neither ends is settled by the sweeper at the cost of its input.
 */
export interface Hold {
  /** The call's id. */
  readonly id: string;
  /** What is reserved, in micro-dollars. */
  readonly reservedMicroUsd: bigint;
  /**
   * Writes down an attempt that ended while the call goes on, so that a crash does not lose its cost. Never throws; the
   * same attempt may be given to `settle` again.
   */
  record(attempt: AttemptRecord): void;
  /**
   * Charges what the attempts cost and gives back the rest. The amounts count at once; the promise resolves when rows and
   * charges are durable, and rejects with `budget.unavailable` only when `close` gave up on a database that stayed away.
   * The caller need not wait for it, but must handle it.
   */
  settle(attempts: readonly AttemptRecord[]): Promise<void>;
  /** Nothing was sent to any provider, nothing is charged. Resolves like `settle`. */
  release(): Promise<void>;
}

/**
 * The gate before every call. An amount is reserved at every level at once, or nowhere.
 */
export interface Spending {
  /**
   * Resolves once the hold is durable: from then on not even kill -9 makes the call free.
   * Errors: `budget.exhausted` (details: budgetId, scope, limit, needed and retryAfterMs, null when waiting does not help),
   * `budget.unpriced`, `budget.unavailable` (the database is away, with retryAfterMs), `limit.requests` and
   * `limit.tokens` (with retryAfterMs), `request.invalid` for amounts that are negative or no exact integers.
   */
  admit(facts: CallFacts): Promise<Hold>;
  readonly ledger: Ledger;
  /** Resolves when all that was settled before is durable. */
  flush(): Promise<void>;
  /** Holds that are open in this process. */
  readonly openHolds: number;
  /**
   * Waits until all that was settled is durable and returns every slice. A hold that is still open is settled at the cost
   * of its input, so end the calls first.
   */
  close(): Promise<void>;
}
