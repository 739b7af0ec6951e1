import type { JsonObject } from './format.ts';
import type { Losses } from './losses.ts';

/** A JSON object that is being written. */
export type JsonDraft = { [key: string]: unknown };

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isArray = (value: unknown): value is readonly unknown[] => Array.isArray(value);

/** The text as JSON, or undefined when it is none. */
export const parsedJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** The text as a JSON object, or null. */
export const parsedObject = (text: string): JsonObject | null => {
  const value = parsedJson(text);
  return isObject(value) ? value : null;
};

/** A place in a document below `at`; a key that is no plain name keeps only its harmless characters. */
export const pathTo = (at: string, key: string): string => {
  const name = /^[\w$-]{1,64}$/.test(key) ? key : key.slice(0, 64).replace(/[^\w$-]/g, '_');
  return at === '' ? name : `${at}.${name}`;
};

/**
 * Reads the members of one object of a document. Whatever has a wrong type, and whatever nobody asked for until
 * `rest()`, is named as lost. `null` is the same as absent, as it is for all four providers.
 */
export class Members {
  readonly object: JsonObject;
  readonly at: string;
  readonly #losses: Losses;
  readonly #taken: string[] = [];

  constructor(object: JsonObject, at: string, losses: Losses) {
    this.object = object;
    this.at = at;
    this.#losses = losses;
  }

  path(key: string): string {
    return pathTo(this.at, key);
  }

  /** The member as it is, counted as read. */
  take(key: string): unknown {
    this.#taken.push(key);
    return Object.hasOwn(this.object, key) ? this.object[key] : undefined;
  }

  text(key: string): string | null {
    const value = this.take(key);
    return typeof value === 'string' ? value : this.#wrong(key, value);
  }

  number(key: string): number | null {
    const value = this.take(key);
    return typeof value === 'number' && Number.isFinite(value) ? value : this.#wrong(key, value);
  }

  flag(key: string): boolean | null {
    const value = this.take(key);
    return typeof value === 'boolean' ? value : this.#wrong(key, value);
  }

  nested(key: string): JsonObject | null {
    const value = this.take(key);
    return isObject(value) ? value : this.#wrong(key, value);
  }

  list(key: string): readonly unknown[] {
    const value = this.take(key);
    return isArray(value) ? value : (this.#wrong(key, value) ?? []);
  }

  /** Members that mean nothing to another provider: identifiers and states of its own items. */
  ignore(...keys: readonly string[]): void {
    this.#taken.push(...keys);
  }

  /** Names a member that was read and cannot be carried. */
  lose(key: string): void {
    this.#losses.add(this.path(key));
  }

  /** Names what the object has besides; call it last. */
  rest(): void {
    for (const key in this.object) {
      const value = this.object[key];
      if (value !== null && value !== undefined && !this.#taken.includes(key)) this.#losses.add(this.path(key));
    }
  }

  #wrong(key: string, value: unknown): null {
    if (value !== undefined && value !== null) this.#losses.add(this.path(key));
    return null;
  }
}
