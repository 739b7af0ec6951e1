import type { ServerResponse } from 'node:http';
import { asHoldfastError, problemText } from './failure.ts';

/** Waits until the client took what was written, or is gone. */
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

/** Throws the reason of the abort when the client has gone, so that whoever produces stops. */
const write = async (outgoing: ServerResponse, signal: AbortSignal, data: string | Uint8Array): Promise<void> => {
  signal.throwIfAborted();
  if (!outgoing.write(data)) await drained(outgoing);
  signal.throwIfAborted();
};

/** An answer of raw bytes; the head goes out with `begin`, or with the first chunk. */
export class ByteSink {
  readonly #outgoing: ServerResponse;
  readonly #signal: AbortSignal;
  readonly #requestId: string;

  constructor(outgoing: ServerResponse, signal: AbortSignal, requestId: string) {
    this.#outgoing = outgoing;
    this.#signal = signal;
    this.#requestId = requestId;
  }

  get begun(): boolean {
    return this.#outgoing.headersSent;
  }

  begin(contentType = 'application/octet-stream'): void {
    if (this.begun) return;
    this.#outgoing.writeHead(200, {
      'content-type': contentType,
      'x-request-id': this.#requestId,
      'x-content-type-options': 'nosniff',
    });
    this.#outgoing.flushHeaders();
  }

  /** Resolves when there is room for more. */
  write(chunk: Uint8Array): Promise<void> {
    this.begin();
    return write(this.#outgoing, this.#signal, chunk);
  }

  async pipe(body: AsyncIterable<Uint8Array>, contentType?: string): Promise<void> {
    this.begin(contentType);
    for await (const chunk of body) await this.write(chunk);
  }

  end(): void {
    this.begin();
    this.#outgoing.end();
  }

  /** There is no way to say what went wrong in the middle of bytes but to break off, which no client takes for the end. */
  fail(): void {
    this.#outgoing.destroy();
  }
}

/** An answer of server-sent events, each with one JSON document. */
export class EventSink<T> {
  readonly #outgoing: ServerResponse;
  readonly #signal: AbortSignal;
  readonly #requestId: string;

  constructor(outgoing: ServerResponse, signal: AbortSignal, requestId: string) {
    this.#outgoing = outgoing;
    this.#signal = signal;
    this.#requestId = requestId;
  }

  get begun(): boolean {
    return this.#outgoing.headersSent;
  }

  /** Sends the head, so that the client knows that what it asked for has begun. */
  begin(): void {
    if (this.begun) return;
    this.#outgoing.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-request-id': this.#requestId,
    });
    this.#outgoing.flushHeaders();
  }

  /** Resolves when there is room for more. */
  send(document: T): Promise<void> {
    this.begin();
    return write(this.#outgoing, this.#signal, `data: ${JSON.stringify(document)}\n\n`);
  }

  /** A comment, which clients ignore: it finds out whether the client is still there. */
  ping(): void {
    if (this.begun && !this.#outgoing.writableNeedDrain) this.#outgoing.write(': ping\n\n');
  }

  end(): void {
    this.begin();
    this.#outgoing.end();
  }

  /** The last event of a stream that failed after it began. */
  fail(thrown: unknown): void {
    this.#outgoing.end(`event: error\ndata: ${problemText(asHoldfastError(thrown), this.#requestId)}\n\n`);
  }
}
