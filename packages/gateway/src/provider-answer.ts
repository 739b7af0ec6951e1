import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { AttemptFailure } from './failure.ts';

const errorBody = z.looseObject({ error: z.looseObject({ message: z.string() }) });

/** The message in a provider's error envelope, for people; empty when there is none. */
const messageOf = (body: Uint8Array): string => {
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(body));
    const parsed = errorBody.safeParse(json);
    return parsed.success ? `: ${parsed.data.error.message.replace(/[\p{Cc}]+/gu, ' ').slice(0, 500)}` : '';
  } catch {
    return '';
  }
};

/**
 * What an HTTP status of a provider means: null for answers that are passed on, which includes refusals of this very
 * request (400, 404, 422 and so on), since no other target would judge it differently.
 */
export const failureOfStatus = (provider: string, head: Response, body: Uint8Array): AttemptFailure | null => {
  const { status } = head;
  const details = { provider, providerStatus: status };
  if (status === 429)
    return new AttemptFailure({
      errorClass: 'rate_limited',
      error: new HoldfastError('gateway.rate_limited', `${provider} limits the rate${messageOf(body)}`, details),
      failover: true,
      status,
      retryAfter: head.headers.get('retry-after'),
    });
  if (status === 408 || status >= 500)
    return new AttemptFailure({
      errorClass: status === 408 ? 'timeout' : 'provider_error',
      error: new HoldfastError('gateway.provider_failed', `${provider} answered ${status}${messageOf(body)}`, details),
      failover: true,
      status,
    });
  if (status === 401 || status === 403)
    // Not passed on: the caller would take its own key for the bad one. The message may show parts of ours.
    return new AttemptFailure({
      errorClass: 'refused',
      error: new HoldfastError('gateway.provider_refused', `${provider} answered ${status} to the gateway.`, details),
      failover: false,
      status,
    });
  if (status >= 300 && status < 400)
    return new AttemptFailure({
      errorClass: 'provider_error',
      error: new HoldfastError('gateway.provider_failed', `${provider} answered with a redirect.`, details),
      failover: false,
      status,
    });
  return null;
};

const forwarded =
  /^(?:content-type|x-request-id|openai-model|openai-processing-ms|openai-version|x-ratelimit-[a-z-]+)$/;

/** The provider's headers that callers get; encodings and lengths are no longer true, cookies are nobody's business. */
export const forwardedHeaders = (head: Response): Headers => {
  const headers = new Headers();
  for (const [name, value] of head.headers) if (forwarded.test(name)) headers.set(name, value);
  return headers;
};

const sent = /^(?:accept|content-type|user-agent|openai-beta|idempotency-key|x-client-request-id|x-stainless-[a-z-]+)$/;

/** The caller's headers that providers get: never its key, cookies or address. */
export const sentHeaders = (request: Request): Headers => {
  const headers = new Headers({ 'content-type': 'application/json' });
  for (const [name, value] of request.headers) if (sent.test(name)) headers.set(name, value);
  return headers;
};
