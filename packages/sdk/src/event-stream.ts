import { HoldfastError } from '@holdfast/core';

/** Longest single event. */
const maxEventBytes = 16_777_216;

export interface ServerSentEvent {
  /** `message` unless the server named it. */
  readonly event: string;
  readonly data: string;
}

/** Splits `text/event-stream` into events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has it. */
export async function* parseEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  let size = 0;
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    // A carriage return at the end may be the first half of a line end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n') };
        event = '';
        data = [];
        size = 0;
        continue;
      }
      const colon = line.indexOf(':');
      const field = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'event') event = value;
      if (field === 'data') data.push(value);
      size += line.length;
    }
    if (rest.length + size > maxEventBytes) {
      throw new HoldfastError('server.answer_invalid', `An event is longer than ${maxEventBytes} bytes.`, {});
    }
  }
}

/**
 * Typed events of a running call. It can be read once; leaving the loop, `abort` or `await using` end the call at the
 * server. Reading throws the error that the server reports in the stream.
 */
export class EventStream<T> implements AsyncIterable<T>, AsyncDisposable {
  readonly #source: AsyncGenerator<T>;
  readonly #abort: () => void;

  constructor(source: AsyncGenerator<T>, abort: () => void) {
    this.#source = source;
    this.#abort = abort;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.#source;
  }

  /** Ends the call now; a reader that waits for the next event is released as if the stream had ended. */
  abort(): void {
    this.#abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort();
    await this.#source.return(undefined);
  }

  /** The same stream with each event changed; ending either ends both. */
  map<U>(change: (event: T) => U): EventStream<U> {
    const source = this.#source;
    async function* changed(): AsyncGenerator<U> {
      for await (const event of source) yield change(event);
    }
    return new EventStream(changed(), this.#abort);
  }
}
