import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/core';

/** Deeper JSON is refused: a request nests some ten levels, and recursion has an end. */
const maxDepth = 200;

const write = (value: unknown, without: ReadonlySet<string>, depth: number): string => {
  if (depth > maxDepth) throw new HoldfastError('request.invalid', 'The body is nested too deeply.', { maxDepth });
  if (Array.isArray(value)) return `[${value.map((item) => write(item, without, depth + 1)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members: string[] = [];
  for (const [key, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    if (!without.has(key) && member !== undefined)
      members.push(`${JSON.stringify(key)}:${write(member, without, depth + 1)}`);
  return `{${members.join(',')}}`;
};

const nothing: ReadonlySet<string> = new Set();

/**
 * The same text for JSON that differs only in white space and in the order of members. Members named in `without` are
 * left out at every depth. Errors: `request.invalid` for more than 200 levels.
 */
export const canonicalJson = (value: unknown, without: ReadonlySet<string> = nothing): string =>
  write(value, without, 0);

/** SHA-256 over parts that cannot run into each other. */
export const digestOf = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    hash.update(`${bytes.byteLength}:`).update(bytes);
  }
  return hash.digest();
};
