import { HoldfastError } from '@holdfast/core';
import type { SseEvent } from '../formats/format.ts';

const lf = 0x0a;
const cr = 0x0d;

/** Whole events in a row: each runs from the end of the one before it, or 0, to its own end in `bytes`. */
export interface EventRun {
  readonly bytes: Buffer;
  readonly ends: readonly number[];
}

/**
 * Cuts a byte stream into server-sent events without changing a byte: each runs to the end of the blank line that
 * closes it. https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export class EventSplitter {
  readonly #maxEventBytes: number;
  /** What no blank line has closed is in its first `#length` bytes. */
  #pending: Buffer = Buffer.alloc(0);
  #length = 0;
  /** How far it was searched, and whether that place begins a line. */
  #searched = 0;
  #lineStart = true;

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** Whole events so far. Throws `gateway.response_too_large` when one event exceeds the limit. */
  push(chunk: Uint8Array): EventRun {
    const bytes = this.#joined(chunk);
    const ends: number[] = [];
    // By far the most streams have no carriage returns: then lines are found by a search instead of byte by byte.
    const start = bytes.includes(cr, this.#searched) ? this.#search(bytes, ends) : this.#searchPlain(bytes, ends);
    this.#keep(bytes, start);
    if (this.#length > this.#maxEventBytes)
      throw new HoldfastError('gateway.response_too_large', 'One event of the stream is too large.', {
        maxBytes: this.#maxEventBytes,
      });
    return { bytes, ends };
  }

  /** What no blank line has closed. */
  rest(): Buffer {
    return this.#pending.subarray(0, this.#length);
  }

  /** Puts the ends of whole events into `ends`, and gives the start of what is left. */
  #search(bytes: Buffer, ends: number[]): number {
    let start = 0;
    let i = this.#searched;
    let lineStart = this.#lineStart;
    while (i < bytes.length) {
      const c = bytes[i];
      if (c !== lf && c !== cr) {
        lineStart = false;
        i += 1;
        continue;
      }
      // A CR at the very end may be half of a CRLF: wait for what follows.
      if (c === cr && i + 1 === bytes.length) break;
      i += c === cr && bytes[i + 1] === lf ? 2 : 1;
      if (lineStart) {
        ends.push(i);
        start = i;
      }
      lineStart = true;
    }
    this.#lineStart = lineStart;
    this.#searched = i - start;
    return start;
  }

  #searchPlain(bytes: Buffer, ends: number[]): number {
    let start = 0;
    let i = this.#searched;
    let lineStart = this.#lineStart;
    for (;;) {
      const at = bytes.indexOf(lf, i);
      if (at === -1) break;
      if (at === i && lineStart) {
        ends.push(at + 1);
        start = at + 1;
      }
      lineStart = true;
      i = at + 1;
    }
    this.#lineStart = lineStart && i === bytes.length;
    this.#searched = bytes.length - start;
    return start;
  }

  #joined(chunk: Uint8Array): Buffer {
    const given = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    if (this.#length === 0) return given;
    const needed = this.#length + given.length;
    if (this.#pending.length < needed) {
      // Doubled, so that a long event in many small pieces is not copied for each of them.
      const grown = Buffer.allocUnsafe(needed * 2);
      this.#pending.copy(grown, 0, 0, this.#length);
      this.#pending = grown;
    }
    given.copy(this.#pending, this.#length);
    return this.#pending.subarray(0, needed);
  }

  #keep(bytes: Buffer, start: number): void {
    this.#length = bytes.length - start;
    if (this.#length === 0) this.#pending = Buffer.alloc(0);
    // Events were cut off its front, and somebody still reads them: the rest moves to a place of its own.
    else if (start > 0 || bytes.buffer !== this.#pending.buffer) this.#pending = Buffer.from(bytes.subarray(start));
  }
}

const field = (line: string, name: string): string | null => {
  if (line === name) return '';
  if (!line.startsWith(`${name}:`)) return null;
  return line.slice(line.charAt(name.length + 1) === ' ' ? name.length + 2 : name.length + 1);
};

/** Reads one event; null when it has no data, as a comment has none. */
export const parseEvent = (bytes: Buffer): SseEvent | null => {
  const text = bytes.toString('utf8');
  // By far the most: one line of data.
  if (text.startsWith('data: ') && text.indexOf('\n') === text.length - 2 && !text.includes('\r'))
    return { event: null, data: text.slice(6, -2) };
  let event: string | null = null;
  let data: string | null = null;
  for (const line of text.split(/\r\n|\r|\n/)) {
    const value = field(line, 'data');
    if (value !== null) data = data === null ? value : `${data}\n${value}`;
    else event = field(line, 'event') ?? event;
  }
  return data === null ? null : { event, data };
};

/** The event as it is sent. */
export const eventText = ({ event, data }: SseEvent): string => {
  const lines = data.includes('\n') ? data.split('\n').join('\ndata: ') : data;
  return event === null ? `data: ${lines}\n\n` : `event: ${event}\ndata: ${lines}\n\n`;
};
