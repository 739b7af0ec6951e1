import { problemMediaType, problemOf } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { databaseError } from '@holdfast/db';
import type { z } from 'zod';

/** PostgreSQL's class 22: a value that it cannot take, such as text with a NUL. */
const isDataException = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^22[0-9A-Z]{3}$/.test(error.code);

/** The catalogued error that anything thrown becomes; what nobody expected is `internal.unexpected`. */
export const asHoldfastError = (thrown: unknown): HoldfastError => {
  const error = databaseError(thrown);
  if (error instanceof HoldfastError) return error;
  if (isDataException(error))
    return new HoldfastError('request.invalid', 'A value cannot be stored.', {}, { cause: error });
  return new HoldfastError('internal.unexpected', undefined, {}, { cause: error });
};

const maxIssues = 20;

/** `request.invalid` that names the fields: `part` is `path`, `query` or `body`. */
export const invalidRequest = (part: string, error: z.ZodError): HoldfastError => {
  const issues = error.issues.slice(0, maxIssues).map((issue) => ({
    path: [part, ...issue.path].join('.').slice(0, 256),
    reason: issue.message.slice(0, 256),
  }));
  const first = issues[0];
  return new HoldfastError('request.invalid', first && `${first.path}: ${first.reason}.`, { issues });
};

export const problemText = (error: HoldfastError, requestId: string | null): string =>
  JSON.stringify(problemOf(error, requestId));

export const problemResponse = (
  error: HoldfastError,
  requestId: string | null,
  headers: Readonly<Record<string, string>> = {},
): Response => {
  const answer = new Headers(headers);
  answer.set('content-type', problemMediaType);
  if (requestId !== null) answer.set('x-request-id', requestId);
  if (error.kind.status === 401) answer.set('www-authenticate', 'Bearer realm="holdfast"');
  if (error.kind.status === 503) answer.set('retry-after', '1');
  return new Response(problemText(error, requestId), { status: error.kind.status, headers: answer });
};
