import type { Usage } from '../formats/format.ts';
import type { OtherUsage } from '../prices/price-table.ts';

/** Who spends: what budgets, limits and reports are kept by. */
export interface Scopes {
  readonly workspaceId: string;
  readonly teamId: string | null;
  readonly userId: string | null;
  readonly keyId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
  /** An `Endpoint`, such as `chat.completions`. */
  readonly endpoint: string;
}

/** What is known of an attempt before it is made. */
export interface AttemptStart {
  /** Unique for ever; `attemptId` makes it of the call's id and the number of the attempt. */
  readonly id: string;
  readonly callId: string;
  /** 1 for the first attempt of a call. */
  readonly attempt: number;
  /** The model name that the caller asked for, the route of that name when there is one, and the variant of its A/B split. */
  readonly requestedModel: string;
  readonly route: string | null;
  readonly variant: string | null;
  readonly provider: string;
  readonly providerModel: string;
  /** A replayed recording: nothing was spent. */
  readonly recorded: boolean;
  readonly streamed: boolean;
  readonly step: string | null;
  /** At most 16 pairs of at most 64 and 256 characters. */
  readonly tags: Readonly<Record<string, string>>;
  readonly traceId: string;
  readonly spanId: string;
  /** Of the price that the attempt is charged at; null when the model has none. */
  readonly priceVersion: string | null;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
}

/** How the tokens became known: told by the provider, counted by a rule after the caller left, or not at all. */
export type UsageSource = 'provider' | 'estimated' | 'none';

/** Where the answer came from, when that was no provider. */
export type CacheSource = 'exact' | 'semantic' | 'replayed';

/** One attempt, finished. Becomes one row of `model_attempts` that never changes. */
export interface AttemptRecord extends AttemptStart {
  readonly scopes: Scopes;
  readonly cache: CacheSource | null;
  /** HTTP status of the provider; null when no answer came. */
  readonly status: number | null;
  /** Null when the attempt succeeded. */
  readonly errorClass: string | null;
  readonly responseModel: string | null;
  readonly usage: Usage | null;
  readonly usageSource: UsageSource;
  readonly other: OtherUsage;
  /** Null when the model has no price. Never negative. */
  readonly costMicroUsd: bigint | null;
  readonly latencyMs: number;
  readonly firstTokenMs: number | null;
}

/** Keeps attempts for good. */
export interface Ledger {
  /**
   * Stores attempts that no hold belongs to, such as answers from a cache; they charge no budget. Resolves when they are
   * durable. A record whose id is there already changes nothing. Errors: `budget.unavailable`.
   */
  append(records: readonly AttemptRecord[]): Promise<void>;
}

/** Ids of attempts sort by call and number, and the sweeper can tell which number comes next. */
export const attemptId = (callId: string, attempt: number): string => `${callId}.${attempt}`;
