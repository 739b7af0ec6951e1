import { HoldfastError, Secret } from '@holdfast/core';

const redacted = '[redacted]';
const maxTextLength = 8_192;
const maxDepth = 5;
const maxItems = 50;

/** Names of fields whose value is never written. */
const secretName = /authorization|cookie|password|passwd|secret|token|api[-_]?key|credential|entropy/i;

/** Secrets that a text may contain: our keys, bearer tokens, passwords in URLs, keys of model providers. */
const secretText =
  /hf_[0-9a-z]{26}_[0-9a-z]{32}|(?<=bearer )\S+|(?<=:\/\/[^\s/:@]{0,256}:)[^\s/@]+(?=@)|\bsk-[A-Za-z0-9_-]{16,}/gi;

export const redactText = (text: string): string => {
  const clean = text.replace(secretText, redacted);
  return clean.length > maxTextLength ? `${clean.slice(0, maxTextLength)}…` : clean;
};

const redactError = (error: Error, depth: number): Record<string, unknown> => ({
  name: error.name,
  message: redactText(error.message),
  ...('code' in error ? { code: redact(error.code, depth + 1) } : {}),
  ...(error instanceof HoldfastError ? { details: redact(error.details, depth + 1) } : {}),
  stack: redactText(error.stack ?? ''),
  ...(error.cause === undefined ? {} : { cause: redact(error.cause, depth + 1) }),
});

/** A copy that is safe to write: no secrets, no cycles, bounded in depth, width and length. */
export const redact = (value: unknown, depth = 0): unknown => {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'function' || typeof value === 'symbol') return String(value).slice(0, 64);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Secret) return redacted;
  if (depth >= maxDepth) return '…';
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return value;
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) return value.slice(0, maxItems).map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, maxItems)
      .map(([name, field]) => [name, secretName.test(name) ? redacted : redact(field, depth + 1)]),
  );
};
