import type { StoredAnswer } from '../caches/cache.ts';

/**
 * The header `idempotency-key`: a request that is sent twice is done once. A key belongs to the API key that sent it, is
 * kept for 24 hours, and stands for one request: another body under it is refused.
 */
export interface IdempotencyRequest {
  readonly workspaceId: string;
  /** Of the caller's API key. */
  readonly keyId: string;
  /** The header's value, 1 to 255 printable characters. */
  readonly idempotencyKey: string;
  /** SHA-256 over endpoint and body: see `requestDigest`. */
  readonly digest: Uint8Array;
}

/** The right to do the request now. One of the two must be called; a process that dies gives the right up after a minute. */
export interface IdempotencyTicket {
  /** Keeps the answer for whoever sends the key again. Resolves when that is durable. Never rejects: a failure is logged. */
  finish(answer: StoredAnswer): Promise<void>;
  /** It was done, but its answer is too long to keep: the key stays used. */
  lose(): Promise<void>;
  /** The request came to nothing that should be repeated, such as a refusal by a budget: the key is free again. */
  abandon(): Promise<void>;
}

export type IdempotencyOutcome =
  | { readonly kind: 'run'; readonly ticket: IdempotencyTicket }
  | { readonly kind: 'replay'; readonly answer: StoredAnswer };

export interface Idempotency {
  /**
   * Errors: `gateway.idempotency_running` (409) while the first one is under way, `gateway.idempotency_mismatch` when the
   * key was used for another request, `gateway.idempotency_lost` when the answer was too large to keep,
   * `request.invalid` for a key that is too long.
   */
  begin(request: IdempotencyRequest): Promise<IdempotencyOutcome>;
  close(): Promise<void>;
}
