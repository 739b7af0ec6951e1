const firstWaitMs = 250;
const maxWaitMs = 8_000;

/**
 * Milliseconds before the next round of targets: exponential with full jitter, and no shorter than a provider asked for.
 * https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
 */
export const retryWaitMs = (round: number, askedMs: number, random: () => number): number =>
  Math.max(askedMs, Math.min(maxWaitMs, firstWaitMs * 2 ** round) * random());

/** Milliseconds of a `Retry-After` header, which is seconds or a date; null when it is neither. */
export const retryAfterMs = (header: string | undefined, nowMs: number): number | null => {
  if (header === undefined || header.length > 64) return null;
  if (/^\s*\d{1,9}(\.\d{1,9})?\s*$/.test(header)) return Number(header) * 1_000;
  if (!/^\s*[A-Za-z]/.test(header)) return null;
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
};
