import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { retryAfterMs } from '../routing/retry-wait.ts';
import { AttemptFailure } from './attempt-failure.ts';

/** OpenAI's, Anthropic's and Gemini's envelope; Bedrock's is flat. */
const errorBody = z.union([
  z.looseObject({ error: z.looseObject({ message: z.string() }) }).transform((b) => b.error.message),
  z.looseObject({ message: z.string() }).transform((b) => b.message),
  z.looseObject({ error: z.string() }).transform((b) => b.error),
]);

/** The message in a provider's error envelope, for people; null when there is none. */
export const messageOf = (body: Uint8Array): string | null => {
  try {
    const parsed = errorBody.safeParse(JSON.parse(Buffer.from(body).toString()));
    return parsed.success ? parsed.data.replace(/[\p{Cc}]+/gu, ' ').slice(0, 500) : null;
  } catch {
    return null;
  }
};

const after = (body: Uint8Array): string => {
  const message = messageOf(body);
  return message === null ? '' : `: ${message}`;
};

export interface ErrorHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * What an HTTP status of a provider means: null for answers that are passed on, which includes refusals of this very
 * request (400, 404, 422 and so on), since no other target would judge it differently.
 */
export const failureOfStatus = (
  provider: string,
  { status, headers }: ErrorHead,
  body: Uint8Array,
  nowMs: number,
): AttemptFailure | null => {
  const details = { provider, providerStatus: status };
  const asked = retryAfterMs(headers['retry-after'], nowMs);
  if (status === 429)
    return new AttemptFailure({
      errorClass: 'rate_limited',
      error: new HoldfastError('gateway.rate_limited', `${provider} limits the rate${after(body)}`, details),
      failover: true,
      status,
      retryAfterMs: asked,
    });
  if (status === 408 || status >= 500)
    return new AttemptFailure({
      errorClass: status === 408 ? 'timeout' : 'provider_error',
      error: new HoldfastError('gateway.provider_failed', `${provider} answered ${status}${after(body)}`, details),
      failover: true,
      targetAtFault: true,
      status,
      retryAfterMs: asked,
    });
  if (status === 401 || status === 403)
    // Not passed on: the caller would take its own key for the bad one. The message may show parts of ours.
    return new AttemptFailure({
      errorClass: 'refused',
      error: new HoldfastError('gateway.provider_refused', `${provider} answered ${status} to the gateway.`, details),
      failover: false,
      status,
    });
  if (status < 200 || (status >= 300 && status < 400))
    return new AttemptFailure({
      errorClass: 'provider_error',
      error: new HoldfastError('gateway.provider_failed', `${provider} answered with a redirect.`, details),
      failover: false,
      status,
    });
  return null;
};

/** An error event in place of an answer, before any content: as good as its status. */
export const failureOfEvent = (
  provider: string,
  { status, message }: { readonly status: number | null; readonly message: string },
): AttemptFailure => {
  const text = message.replace(/[\p{Cc}]+/gu, ' ').slice(0, 500);
  const limited = status === 429;
  return new AttemptFailure({
    errorClass: limited ? 'rate_limited' : 'provider_error',
    error: new HoldfastError(
      limited ? 'gateway.rate_limited' : 'gateway.provider_failed',
      `${provider} answered with an error event${text === '' ? '' : `: ${text}`}`,
      { provider, ...(status === null ? {} : { providerStatus: status }) },
    ),
    failover: true,
    targetAtFault: !limited,
  });
};

/** An answer of 200 that is none, such as the page of a proxy. */
export const failureOfContent = (provider: string, contentType: string): AttemptFailure =>
  new AttemptFailure({
    errorClass: 'provider_error',
    error: new HoldfastError(
      'gateway.provider_failed',
      `${provider} answered with something that is no answer of a model (${contentType.slice(0, 100)}).`,
      { provider },
    ),
    failover: true,
    targetAtFault: true,
    status: 200,
  });
