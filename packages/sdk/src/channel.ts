import { Duplex } from 'node:stream';
import { HoldfastError, maxMessageBytes } from '@holdfast/core';
import { WebSocket } from 'ws';
import { errorOfCode, errorOfExchange, errorOfText, readText } from './failure.ts';

/** Bytes that may wait to be read before the socket is paused. */
const maxWaitingBytes = 1_048_576;
const maxReceivedBytes = 16_777_216;

export type ChannelMessage =
  | { readonly kind: 'bytes'; readonly data: Uint8Array }
  | { readonly kind: 'text'; readonly text: string };

export interface ChannelEnd {
  /** WebSocket close code; 1006 when the connection broke. */
  readonly code: number;
  readonly reason: string;
}

const bytesOf = (data: Buffer | ArrayBuffer | Buffer[]): Uint8Array =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? new Uint8Array(data) : data;

/** 1000 and 1005 are an ordinary end; the server puts the code of an error into the reason of any other. */
const errorOfEnd = ({ code, reason }: ChannelEnd): HoldfastError | null => {
  if (code === 1000 || code === 1005) return null;
  if (code === 1006) return new HoldfastError('server.unreachable', 'The connection broke.', { closeCode: code });
  return errorOfCode(reason, `The server ended the connection: ${reason}.`, { closeCode: code });
};

/** An open WebSocket with back-pressure both ways: unread messages pause the sender, `send` waits for the socket. */
export class Channel implements AsyncDisposable {
  /** Resolves when the connection has ended, never rejects. */
  readonly closed: Promise<ChannelEnd>;
  readonly #socket: WebSocket;
  readonly #waiting: ChannelMessage[] = [];
  #waitingBytes = 0;
  #end: ChannelEnd | null = null;
  #closing = false;
  #wake: () => void = () => undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => this.#receive(bytesOf(data), isBinary));
    // The close event that follows tells the reader.
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        this.#end = { code, reason: reason.toString() };
        this.#wake();
        resolve(this.#end);
      });
    });
  }

  #receive(data: Uint8Array, isBinary: boolean): void {
    this.#waiting.push(isBinary ? { kind: 'bytes', data } : { kind: 'text', text: new TextDecoder().decode(data) });
    this.#waitingBytes += data.byteLength;
    if (this.#waitingBytes > maxWaitingBytes) this.#socket.pause();
    this.#wake();
  }

  /**
   * Messages in order until the other side closes; leaving the loop closes it here. One reader at a time. Throws the
   * error that the server closed with, and `server.unreachable` when the connection broke.
   */
  async *messages(): AsyncGenerator<ChannelMessage> {
    try {
      for (;;) {
        const next = this.#waiting.shift();
        if (next !== undefined) {
          this.#waitingBytes -= next.kind === 'bytes' ? next.data.byteLength : Buffer.byteLength(next.text);
          if (this.#waitingBytes <= maxWaitingBytes && this.#socket.isPaused) this.#socket.resume();
          yield next;
        } else if (this.#end !== null) {
          const failure = this.#closing ? null : errorOfEnd(this.#end);
          if (failure !== null) throw failure;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }

  /**
   * Sends text or bytes; resolves when the socket took it. Bytes longer than the server's longest message travel in
   * several. Throws `server.unreachable` when the connection has ended.
   */
  async send(data: string | Uint8Array): Promise<void> {
    if (typeof data === 'string' || data.byteLength <= maxMessageBytes) return this.#send(data);
    for (let at = 0; at < data.byteLength; at += maxMessageBytes) {
      await this.#send(data.subarray(at, at + maxMessageBytes));
    }
  }

  #send(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(data, { binary: typeof data !== 'string' }, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(new HoldfastError('server.unreachable', 'The connection has ended.', {}, { cause: error }));
      });
    });
  }

  close(): void {
    this.#closing = true;
    if (this.#socket.isPaused) this.#socket.resume();
    this.#socket.close(1000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.closed;
  }

  /** The binary messages as a Node stream, for piping to a TCP socket. Ending it closes the channel. */
  duplex(): Duplex {
    const incoming = this.messages();
    const pull = async (stream: Duplex): Promise<void> => {
      for (;;) {
        const { done, value } = await incoming.next();
        if (done === true) {
          stream.push(null);
          return;
        }
        if (value.kind === 'bytes' && value.data.byteLength > 0) {
          stream.push(value.data);
          return;
        }
      }
    };
    return new Duplex({
      read() {
        pull(this).catch((error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))));
      },
      write: (chunk: Uint8Array, _encoding, done) => {
        this.send(chunk).then(() => done(), done);
      },
      final: (done) => {
        this.close();
        done();
      },
      destroy: (error, done) => {
        this.close();
        done(error);
      },
    });
  }
}

export interface ChannelRequest {
  /** `ws:` or `wss:`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | null;
}

/** Opens a WebSocket. A refusal of the upgrade throws the error that the server's answer describes. */
export const openChannel = ({ url, headers, signal }: ChannelRequest): Promise<Channel> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const socket = new WebSocket(url, {
      headers: { ...headers },
      perMessageDeflate: false,
      maxPayload: maxReceivedBytes,
    });
    const abort = () => {
      reject(signal?.reason);
      socket.terminate();
    };
    signal?.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal?.removeEventListener('abort', abort));
    socket.on('error', (error) => reject(errorOfExchange(error, url, signal)));
    socket.once('unexpected-response', (request, response) => {
      readText(response, 1_048_576)
        .then((text) => reject(errorOfText(response.statusCode ?? 0, text)), reject)
        .finally(() => request.destroy());
    });
    // The channel must listen before the first message, which can come with the upgrade itself.
    const channel = new Channel(socket);
    socket.once('open', () => resolve(channel));
  });
