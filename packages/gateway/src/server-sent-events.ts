import { HoldfastError } from '@holdfast/core';

const lf = 0x0a;
const cr = 0x0d;

/**
 * Cuts a byte stream into server-sent events without changing a byte: each piece runs to the end of the blank line
 * that closes the event. https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventSplitter {
  readonly #maxEventBytes: number;
  #pending: Uint8Array = new Uint8Array(0);
  /** How far `#pending` was searched, and whether that place begins a line. */
  #searched = 0;
  #lineStart = true;

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** Whole events so far. Throws `gateway.response_too_large` when one event exceeds the limit. */
  push(chunk: Uint8Array): Uint8Array[] {
    let buffer = chunk;
    if (this.#pending.length > 0) {
      buffer = new Uint8Array(this.#pending.length + chunk.length);
      buffer.set(this.#pending);
      buffer.set(chunk, this.#pending.length);
    }
    const events: Uint8Array[] = [];
    let start = 0;
    let i = this.#searched;
    while (i < buffer.length) {
      const c = buffer[i];
      if (c !== lf && c !== cr) {
        this.#lineStart = false;
        i += 1;
        continue;
      }
      // A CR at the very end may be half of a CRLF: wait for what follows.
      if (c === cr && i + 1 === buffer.length) break;
      i += c === cr && buffer[i + 1] === lf ? 2 : 1;
      if (this.#lineStart) {
        events.push(buffer.subarray(start, i));
        start = i;
      }
      this.#lineStart = true;
    }
    this.#searched = i - start;
    this.#pending = buffer.slice(start);
    if (this.#pending.length > this.#maxEventBytes)
      throw new HoldfastError('gateway.response_too_large', 'One event of the stream is too large.', {
        maxBytes: this.#maxEventBytes,
      });
    return events;
  }

  /** What no blank line has closed. */
  rest(): Uint8Array {
    return this.#pending;
  }
}

/** The `data` of one event, its lines joined; null when it has none, as a comment has. */
export const eventData = (event: Uint8Array): string | null => {
  const lines = new TextDecoder().decode(event).split(/\r\n|\r|\n/);
  const data = lines.filter((l) => l === 'data' || l.startsWith('data:'));
  if (data.length === 0) return null;
  return data.map((l) => l.slice(l.startsWith('data: ') ? 6 : 5)).join('\n');
};

export const eventOf = (data: string): Uint8Array => new TextEncoder().encode(`data: ${data}\n\n`);
