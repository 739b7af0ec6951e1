import type { ServerResponse } from 'node:http';
import type { StoredAnswer } from '../caches/cache.ts';
import type { AnswerSink } from './answer-sink.ts';

/** What a copy of an answer may hold; a longer one is not kept. */
const maxCopyBytes = 8_388_608;

/** Waits until the caller took what was written, or is gone. */
const drained = (outgoing: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      outgoing.off('drain', done);
      outgoing.off('close', done);
      resolve();
    };
    outgoing.on('drain', done);
    outgoing.on('close', done);
  });

/** Writes one answer to the caller, and keeps a copy when somebody wants one. */
export class AnswerWriter implements AnswerSink {
  readonly #outgoing: ServerResponse;
  #copy: Uint8Array[] | null = null;
  #copyBytes = 0;
  #status = 0;
  #headers: Readonly<Record<string, string>> = {};
  #streamed = false;

  constructor(outgoing: ServerResponse) {
    this.#outgoing = outgoing;
  }

  /** The head is on its way: from here on only the body can tell of a failure. */
  get begun(): boolean {
    return this.#outgoing.headersSent;
  }

  /** Keeps what is written from here on. */
  keepCopy(): void {
    this.#copy = [];
  }

  /** The copy; null when none was asked for, or it grew too long. */
  copy(): Omit<StoredAnswer, 'usage'> | null {
    if (this.#copy === null) return null;
    return {
      status: this.#status,
      headers: this.#headers,
      body: Buffer.concat(this.#copy),
      streamed: this.#streamed,
    };
  }

  /** A whole answer. */
  whole(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array | string): void {
    this.#status = status;
    this.#headers = headers;
    if (this.#copy !== null) this.#keep(body);
    if (this.#outgoing.destroyed) return;
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    this.#outgoing.writeHead(status, { ...headers, 'content-length': length });
    this.#outgoing.end(body);
  }

  /** The head of an answer whose body follows as it comes. */
  begin(status: number, headers: Readonly<Record<string, string>>, streamed: boolean): void {
    this.#status = status;
    this.#headers = headers;
    this.#streamed = streamed;
    if (this.#outgoing.destroyed) return;
    this.#outgoing.writeHead(status, headers);
  }

  /** Null when there is room for more at once; else a promise for that. */
  write(chunk: Uint8Array | string): Promise<void> | null {
    if (this.#copy !== null) this.#keep(chunk);
    if (this.#outgoing.destroyed || this.#outgoing.write(chunk)) return null;
    return drained(this.#outgoing);
  }

  end(): void {
    if (!this.#outgoing.destroyed) this.#outgoing.end();
  }

  /** There is no way to tell of a failure amid bytes but to break off, which no client takes for the end. */
  breakOff(): void {
    this.#outgoing.destroy();
  }

  #keep(chunk: Uint8Array | string): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    this.#copyBytes += bytes.length;
    if (this.#copyBytes > maxCopyBytes) this.#copy = null;
    else this.#copy?.push(bytes);
  }
}
