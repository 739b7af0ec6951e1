import type { JsonObject } from './format.ts';
import { isObject } from './json-value.ts';
import type { StreamFailure } from './neutral.ts';

const statuses: Readonly<Record<string, number>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  conflict_error: 409,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  insufficient_quota: 429,
  RESOURCE_EXHAUSTED: 429,
  api_error: 500,
  server_error: 500,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  timeout_error: 504,
  DEADLINE_EXCEEDED: 504,
  overloaded_error: 529,
};

/** The HTTP status that a provider's word for an error stands for; null for a word that nobody knows. */
export const statusOfErrorType = (type: string | null): number | null =>
  type !== null && Object.hasOwn(statuses, type) ? (statuses[type] ?? null) : null;

/** Longest message of a provider that is passed on. */
const maxMessageLength = 2_000;

const firstText = (...values: readonly unknown[]): string | null => {
  for (const value of values) if (typeof value === 'string' && value !== '') return value;
  return null;
};

/**
 * The failure in an error event of any of the four formats: `{error: {…}}`, in responses also the members by
 * themselves. Null when there is none.
 */
export const streamFailureOf = (body: JsonObject): StreamFailure | null => {
  const { error } = body;
  if (error === undefined || error === null) return null;
  if (typeof error === 'string') return { status: null, type: null, message: error.slice(0, maxMessageLength) };
  if (!isObject(error)) return null;
  const type = firstText(error.type, error.status, error.code);
  const number = [error.code, error.status, error.status_code].find((one) => typeof one === 'number');
  const status = typeof number === 'number' && number >= 400 && number <= 599 ? number : null;
  const message = firstText(error.message, type) ?? 'The provider reported an error.';
  const known = status ?? statusOfErrorType(firstText(error.code)) ?? statusOfErrorType(type);
  return { status: known, type, message: message.slice(0, maxMessageLength) };
};
