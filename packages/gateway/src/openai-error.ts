import type { OpenAiError } from '@holdfast/contract';
import type { HoldfastError } from '@holdfast/core';

const typeOf = (status: number): string => {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
};

/** OpenAI's error envelope around an error of the catalogue: its SDKs show `message` and match on `code`. */
export const openAiErrorOf = (error: HoldfastError): OpenAiError => {
  const field = error.details.field;
  return {
    error: {
      message: error.message,
      type: typeOf(error.kind.status),
      param: typeof field === 'string' && field !== '' ? field : null,
      code: error.code,
      details: { ...error.details },
    },
  };
};

/** The answer to a call under `/v1` that failed; also for errors that come before the gateway, such as a bad key. */
export const openAiErrorResponse = (error: HoldfastError, headers: Record<string, string> = {}): Response =>
  Response.json(openAiErrorOf(error), {
    status: error.kind.status,
    // OpenAI's SDKs retry 409 and 5xx by themselves unless told.
    headers: { ...headers, 'x-should-retry': String(error.kind.retryable) },
  });
