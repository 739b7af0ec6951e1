import type { HoldfastError } from '@holdfast/core';
import type { DoorFamily } from '../doors/endpoint.ts';
import { errorAnswer } from '../formats/error-answer.ts';

export interface ErrorReply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** Seconds for `Retry-After`, rounded up; null when the error tells none. */
const retryAfterSeconds = (error: HoldfastError): number | null => {
  const { retryAfterMs } = error.details;
  if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) return Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return error.kind.status === 503 ? 1 : null;
};

/** An error as the SDKs of a door expect it; also for those that come before the gateway, such as a bad key. */
export const errorReply = (family: DoorFamily, error: HoldfastError, requestId: string): ErrorReply => {
  const { status, body } = errorAnswer(family, error, requestId);
  const seconds = retryAfterSeconds(error);
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'holdfast-request-id': requestId,
      // The SDKs of OpenAI and Anthropic retry 409 and 5xx by themselves unless told.
      'x-should-retry': String(error.kind.retryable),
      ...(seconds === null ? {} : { 'retry-after': String(seconds) }),
    },
    body: JSON.stringify(body),
  };
};
