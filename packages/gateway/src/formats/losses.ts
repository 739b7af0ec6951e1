import { type ErrorCode, HoldfastError } from '@holdfast/core';

/** Most paths that are named, so that the header that carries them stays small. */
export const maxDropped = 32;
const maxPathLength = 128;

/** What one translation could not carry, and the error it fails with when a document is not what its format says. */
export class Losses {
  readonly #paths = new Set<string>();
  readonly #code: ErrorCode;

  constructor(code: 'request.invalid' | 'gateway.provider_failed' | 'gateway.stream_broken') {
    this.#code = code;
  }

  add(path: string): void {
    if (this.#paths.size > maxDropped) return;
    // Paths become part of a header: nothing but printable ASCII may be in them, and no comma, which separates them.
    this.#paths.add(this.#paths.size === maxDropped ? '...' : path.slice(0, maxPathLength).replace(/[^!-+\--~]/g, '_'));
  }

  get list(): readonly string[] {
    return [...this.#paths];
  }

  /** The document cannot be translated at all; `what` says what is missing at `path`. */
  invalid(path: string, what: string): HoldfastError {
    const where = path === '' ? 'The document' : path.slice(0, maxPathLength);
    return new HoldfastError(this.#code, `${where} ${what}.`, { field: path.slice(0, maxPathLength) });
  }
}
