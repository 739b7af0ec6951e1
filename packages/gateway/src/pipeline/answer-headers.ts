import type { Target } from '../routing/target.ts';

/** Longest value of a header that names what could not be carried. */
const maxValueChars = 4_000;

/** What answers tell of the call itself. */
export const ownHeaders = (
  target: Target,
  traceId: string,
  requestId: string,
  variant: string | null,
  dropped: readonly string[],
): Record<string, string> => {
  const headers: Record<string, string> = {
    'x-holdfast-trace-id': traceId,
    'x-holdfast-provider': target.provider.name,
    'holdfast-request-id': requestId,
  };
  if (target.provider.recorded) headers['x-holdfast-recorded'] = 'true';
  if (variant !== null) headers['holdfast-variant'] = variant;
  if (dropped.length > 0) headers['holdfast-not-carried'] = dropped.join(', ').slice(0, maxValueChars);
  return headers;
};
