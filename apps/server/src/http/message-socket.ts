import { type Clock, HoldfastError, maxBufferedBytes } from '@holdfast/core';
import type { WebSocket } from 'ws';

export type Message =
  | { readonly kind: 'bytes'; readonly data: Uint8Array }
  | { readonly kind: 'text'; readonly text: string };

/** Messages read but not yet taken; beyond it the socket is paused. */
const maxWaitingMessages = 64;
const heartbeatMs = 30_000;

const bytesOf = (data: Buffer | ArrayBuffer | Buffer[]): Uint8Array =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? new Uint8Array(data) : data;

/** A WebSocket with back-pressure both ways and a heartbeat, so that a peer that vanished does not stay open for ever. */
export class MessageSocket {
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #waiting: Message[] = [];
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(socket: WebSocket, clock: Clock) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => this.#receive(bytesOf(data), isBinary));
    // The close event that follows tells the reader.
    socket.on('error', () => undefined);
    const stopHeartbeat = this.#startHeartbeat(clock);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#ended = true;
        stopHeartbeat();
        this.#wake();
        resolve();
      });
    });
  }

  /** Messages in order until the connection ends. One reader at a time. */
  async *messages(): AsyncGenerator<Message> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        if (this.#waiting.length === 0 && this.#socket.isPaused) this.#socket.resume();
        yield next;
      } else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  /** Resolves when the kernel took it, so a sender that waits is held back by a slow peer. Errors: `request.aborted`. */
  send(data: string | Uint8Array): Promise<void> {
    if (this.#socket.bufferedAmount > maxBufferedBytes) this.#socket.terminate();
    return new Promise((resolve, reject) => {
      this.#socket.send(data, { binary: typeof data !== 'string' }, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(new HoldfastError('request.aborted', undefined, {}, { cause: error }));
      });
    });
  }

  /** Codes: https://www.rfc-editor.org/rfc/rfc6455#section-7.4; the reason is cut to what a close frame holds. */
  close(code: number, reason = ''): void {
    if (this.#socket.isPaused) this.#socket.resume();
    this.#socket.close(code, Buffer.from(reason).subarray(0, 120).toString());
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #receive(data: Uint8Array, isBinary: boolean): void {
    this.#waiting.push(isBinary ? { kind: 'bytes', data } : { kind: 'text', text: Buffer.from(data).toString() });
    if (this.#waiting.length >= maxWaitingMessages) this.#socket.pause();
    this.#wake();
  }

  #startHeartbeat(clock: Clock): () => void {
    let answered = true;
    let cancel = (): void => undefined;
    this.#socket.on('pong', () => {
      answered = true;
    });
    const beat = (): void => {
      // A paused socket does not read pongs either; then it is us who are slow.
      if (!answered && !this.#socket.isPaused) this.#socket.terminate();
      answered = false;
      this.#socket.ping();
      cancel = clock.after(heartbeatMs, beat);
    };
    cancel = clock.after(heartbeatMs, beat);
    return () => cancel();
  }
}
