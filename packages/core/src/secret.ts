const redacted = '[redacted]';

/** A value that no log, message or document shows by accident; `reveal` is the only way to it. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  /** What Node's `util.inspect`, and so `console.log`, calls. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return redacted;
  }
}
