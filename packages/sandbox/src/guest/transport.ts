import type { Duplex } from 'node:stream';
import { HoldfastError } from '@holdfast/core';
import { guestLimits } from './limits.ts';

export interface TransportOwner {
  received(chunk: Buffer): void;
  /** The byte stream ended or broke. */
  lost(detail: string, failed: boolean): void;
  /** More waits to be sent than a guest that reads would leave. */
  overflowed(): void;
}

/** One who waits for room. */
export interface DrainWaiter {
  pump(): void;
}

/** The byte stream to the guest. All that is sent in one turn of the event loop goes out in one system call. */
export class Transport {
  readonly #stream: Duplex;
  readonly #owner: TransportOwner;
  readonly #waiting = new Set<DrainWaiter>();
  #corked = false;
  #closed = false;

  constructor(stream: Duplex, owner: TransportOwner) {
    this.#stream = stream;
    this.#owner = owner;
    stream.on('data', (chunk: unknown) => {
      if (!(chunk instanceof Uint8Array)) owner.lost('the stream is not binary', true);
      else
        owner.received(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    });
    stream.on('drain', () => this.#drained());
    stream.on('end', () => owner.lost('the guest closed it', false));
    stream.on('close', () => owner.lost('it was closed', false));
    stream.on('error', (error: Error) => owner.lost(error.message, true));
  }

  /** True when data may be sent now; otherwise `waiter` is pumped once there is room. */
  ready(waiter: DrainWaiter): boolean {
    if (!this.#stream.writableNeedDrain) return true;
    this.#waiting.add(waiter);
    return false;
  }

  /** Throws `guest.busy` while too much waits to be sent. For what callers on this side start. */
  checkBacklog(): void {
    if (this.#stream.writableLength > guestLimits.maxSendBacklogBytes) {
      throw new HoldfastError('guest.busy', 'The guest does not read what it is sent.');
    }
  }

  /** Takes the buffer over. */
  send(frame: Buffer): void {
    if (this.#closed) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#stream.cork();
      queueMicrotask(() => this.#flush());
    }
    this.#stream.write(frame);
    const most = guestLimits.maxSendBacklogBytes + guestLimits.maxProvokedBytes;
    if (this.#stream.writableLength > most) this.#owner.overflowed();
  }

  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    this.#stream.destroy();
  }

  #flush(): void {
    this.#corked = false;
    this.#stream.uncork();
  }

  #drained(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const waiter of waiting) waiter.pump();
  }
}
