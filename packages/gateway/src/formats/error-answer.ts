import type { HoldfastError } from '@holdfast/core';
import type { Door, ErrorAnswer, Format, JsonObject, SseEvent } from './format.ts';
import type { StreamFailure } from './neutral.ts';

/** What each provider calls an error of an HTTP status. The first row that is not above the status decides. */
const openAiTypes: readonly (readonly [number, string])[] = [
  [500, 'server_error'],
  [430, 'invalid_request_error'],
  [429, 'rate_limit_error'],
  [405, 'invalid_request_error'],
  [404, 'not_found_error'],
  [403, 'permission_error'],
  [402, 'insufficient_quota'],
  [401, 'authentication_error'],
  [0, 'invalid_request_error'],
];

/** https://docs.claude.com/en/api/errors */
const anthropicTypes: readonly (readonly [number, string])[] = [
  [529, 'overloaded_error'],
  [505, 'api_error'],
  [504, 'timeout_error'],
  [503, 'overloaded_error'],
  [500, 'api_error'],
  [430, 'invalid_request_error'],
  [429, 'rate_limit_error'],
  [410, 'invalid_request_error'],
  [409, 'conflict_error'],
  [405, 'invalid_request_error'],
  [404, 'not_found_error'],
  [403, 'permission_error'],
  [402, 'billing_error'],
  [401, 'authentication_error'],
  [0, 'invalid_request_error'],
];

/** https://cloud.google.com/apis/design/errors#handling_errors */
const geminiStatuses: readonly (readonly [number, string])[] = [
  [529, 'UNAVAILABLE'],
  [505, 'INTERNAL'],
  [504, 'DEADLINE_EXCEEDED'],
  [502, 'UNAVAILABLE'],
  [500, 'INTERNAL'],
  [499, 'CANCELLED'],
  [430, 'FAILED_PRECONDITION'],
  [429, 'RESOURCE_EXHAUSTED'],
  [410, 'INVALID_ARGUMENT'],
  [409, 'ABORTED'],
  [405, 'INVALID_ARGUMENT'],
  [404, 'NOT_FOUND'],
  [403, 'PERMISSION_DENIED'],
  [402, 'RESOURCE_EXHAUSTED'],
  [401, 'UNAUTHENTICATED'],
  [0, 'INVALID_ARGUMENT'],
];

const typeOf = (table: readonly (readonly [number, string])[], status: number): string =>
  table.find(([from]) => status >= from)?.[1] ?? '';

const paramOf = (error: HoldfastError): string | null => {
  const field = error.details.field;
  return typeof field === 'string' && field !== '' ? field : null;
};

/** Facts of an error as text, as Google's `ErrorInfo` wants them. */
const metadataOf = (error: HoldfastError): JsonObject =>
  Object.fromEntries(
    Object.entries(error.details).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : (JSON.stringify(value) ?? ''),
    ]),
  );

const openAiBody = (error: HoldfastError): JsonObject => {
  const { status } = error.kind;
  // OpenAI says 429 to both; by the type its clients know that waiting does not help.
  const type = error.code.startsWith('budget.') && status === 429 ? 'insufficient_quota' : typeOf(openAiTypes, status);
  return { error: { message: error.message, type, param: paramOf(error), code: error.code, details: error.details } };
};

const anthropicBody = (error: HoldfastError, requestId: string | null): JsonObject => ({
  type: 'error',
  error: {
    type: typeOf(anthropicTypes, error.kind.status),
    message: error.message,
    // A code of Anthropic's own among the details is one that its clients act upon.
    details: { error_code: error.code, ...error.details },
  },
  ...(requestId === null ? {} : { request_id: requestId }),
});

const geminiBody = (error: HoldfastError): JsonObject => ({
  error: {
    code: error.kind.status,
    message: error.message,
    status: typeOf(geminiStatuses, error.kind.status),
    details: [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: error.code,
        domain: 'holdfast',
        metadata: metadataOf(error),
      },
    ],
  },
});

/**
 * The answer to a call that failed, as the classes of errors in the door's own SDKs expect it. The code of the catalogue
 * is `error.code` for OpenAI, `error.details.error_code` for Anthropic, and the reason of an `ErrorInfo` for Gemini.
 */
export const errorAnswer = (door: Door, error: HoldfastError, requestId: string): ErrorAnswer => {
  const { status } = error.kind;
  if (door === 'openai') return { status, body: openAiBody(error) };
  return { status, body: door === 'anthropic' ? anthropicBody(error, requestId) : geminiBody(error) };
};

const event = (name: string | null, body: JsonObject): SseEvent => ({ event: name, data: JSON.stringify(body) });

/**
 * The event that ends a stream whose content has begun. `sequence` is the number of the event in a stream of responses,
 * which nobody checks and only a translator knows.
 */
export const errorEvent = (format: Format, error: HoldfastError, sequence = 0): SseEvent => {
  if (format === 'anthropic') return event('error', anthropicBody(error, null));
  if (format === 'gemini') return event(null, geminiBody(error));
  if (format === 'openai-chat') return event(null, openAiBody(error));
  const { message, code } = error;
  return event('error', { type: 'error', code, message, param: paramOf(error), sequence_number: sequence });
};

const fallbackStatus = 502;

/** A provider's own failure, in the words of another format. */
export const openAiStreamError = ({ status, type, message }: StreamFailure): SseEvent =>
  event(null, {
    error: { message, type: typeOf(openAiTypes, status ?? fallbackStatus), param: null, code: type },
  });

export const responsesStreamError = ({ type, message }: StreamFailure, sequence: number): SseEvent =>
  event('error', { type: 'error', code: type, message, param: null, sequence_number: sequence });

export const anthropicStreamError = ({ status, message }: StreamFailure): SseEvent =>
  event('error', { type: 'error', error: { type: typeOf(anthropicTypes, status ?? fallbackStatus), message } });

export const geminiStreamError = ({ status, message }: StreamFailure): SseEvent => {
  const code = status ?? fallbackStatus;
  return event(null, { error: { code, message, status: typeOf(geminiStatuses, code) } });
};
