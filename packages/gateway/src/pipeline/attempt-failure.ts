import { HoldfastError } from '@holdfast/core';

/** How an attempt ended badly, as the ledger keeps it. */
export type ErrorClass =
  | 'connection'
  | 'timeout'
  | 'rate_limited'
  | 'provider_error'
  | 'refused'
  | 'rejected'
  | 'stream_broken'
  | 'response_too_large'
  | 'recording_exhausted'
  | 'client_disconnected'
  | 'gateway_closed'
  | 'killed'
  | 'internal';

export interface AttemptFailureFacts {
  readonly errorClass: ErrorClass;
  /** What the caller gets when no other target answers. */
  readonly error: HoldfastError;
  /** Another target may do better. */
  readonly failover: boolean;
  /** HTTP status of the provider, when it answered. */
  readonly status?: number;
  /** Milliseconds that the provider asks to be left alone. */
  readonly retryAfterMs?: number | null;
  /** The target is at fault, and is worse off for it: counts for its breaker. */
  readonly targetAtFault?: boolean;
}

/** Why an attempt gave no answer, or no whole one. */
export class AttemptFailure extends Error {
  override readonly name = 'AttemptFailure';
  readonly facts: AttemptFailureFacts;

  constructor(facts: AttemptFailureFacts) {
    super(facts.error.message, { cause: facts.error });
    this.facts = facts;
  }
}

/** What was thrown, as a failure; anything that is none is a mistake of ours. */
export const failureOf = (error: unknown): AttemptFailure =>
  error instanceof AttemptFailure
    ? error
    : new AttemptFailure({
        errorClass: 'internal',
        error:
          error instanceof HoldfastError
            ? error
            : new HoldfastError('internal.unexpected', undefined, {}, { cause: error }),
        failover: false,
      });
