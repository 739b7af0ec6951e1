import { type ErrorCode, errorCatalogue, HoldfastError } from '@holdfast/core';
import { z } from 'zod';

/** Every error answer: RFC 9457 problem details, as `application/problem+json`. */
export const problem = z.object({
  /** `urn:holdfast:error:<code>`: stable, and no page that must exist. */
  type: z.string(),
  title: z.string(),
  status: z.number(),
  /** What happened this time. */
  detail: z.string(),
  /** What callers match on. */
  code: z.string(),
  /** What the caller can do about it. */
  help: z.string(),
  /** True when the same call may succeed later without a change. */
  retryable: z.boolean(),
  details: z.record(z.string(), z.unknown()),
  requestId: z.string().nullable(),
});
export type Problem = z.output<typeof problem>;

export const problemMediaType = 'application/problem+json';

export const problemOf = (error: HoldfastError, requestId: string | null): Problem => ({
  type: `urn:holdfast:error:${error.code}`,
  title: error.kind.title,
  status: error.kind.status,
  detail: error.message,
  code: error.code,
  help: error.kind.help,
  retryable: error.kind.retryable,
  details: { ...error.details },
  requestId,
});

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(errorCatalogue, code);

/** The error a problem document was made of; a code that this version does not know becomes `internal.unexpected`. */
export const errorOfProblem = (document: Problem): HoldfastError => {
  const details = { ...document.details, requestId: document.requestId };
  return isErrorCode(document.code)
    ? new HoldfastError(document.code, document.detail, details)
    : new HoldfastError('internal.unexpected', document.detail, { ...details, code: document.code });
};
