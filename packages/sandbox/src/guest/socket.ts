import { Duplex } from 'node:stream';
import { disconnectedError } from './errors.ts';
import type { InboundQueue } from './inbound-queue.ts';
import type { OutboundChannel } from './outbound-channel.ts';

/** The stream below a socket. */
export interface SocketStream {
  readonly inbound: InboundQueue;
  readonly outbound: OutboundChannel;
  /** Gives the stream up if it is still open. */
  abort(): void;
}

/**
 * A TCP or unix connection in the guest, as a Node stream. Either side may close its half first. Errors never end the
 * process: without a listener for them the socket just closes.
 */
export class GuestSocket extends Duplex {
  readonly #stream: SocketStream;
  #pulling = false;

  constructor(stream: SocketStream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    this.on('error', () => undefined);
  }

  override _read(): void {
    if (this.#pulling) return;
    this.#pulling = true;
    this.#stream.inbound.pull((chunk, error) => {
      this.#pulling = false;
      if (error !== null) this.destroy(error);
      else if (!this.destroyed) this.push(chunk === null ? null : chunk.data);
    });
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#stream.outbound.write(chunk).then(() => callback(), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#stream.outbound.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stream.abort();
    callback(error);
  }
}

/** For a stream without the channels of a socket, which its shape excludes. */
export function requireOutbound(outbound: OutboundChannel | null): OutboundChannel {
  if (outbound === null) throw disconnectedError('the stream cannot send');
  return outbound;
}
