import type { HoldfastError } from '@holdfast/core';

/** Payloads up to this size are copied together, so that a small one does not keep the chunk alive that it came in. */
const copyBelowBytes = 16_384;
const slabBytes = 16_384;
/** A run packs channel and length into one small integer. */
const channelShift = 24;
const lengthMask = (1 << channelShift) - 1;
const maxRunBytes = 65_536;

export interface Chunk {
  readonly channel: number;
  readonly data: Uint8Array;
}

/** Called once with a chunk, with an error, or with neither at the end. */
export type Taker = (chunk: Chunk | null, error: HoldfastError | null) => void;

export interface InboundQueueOwner {
  /** The consumer took so many bytes: the sender may send as many again. */
  consumed(channel: number, bytes: number): void;
  /** The consumer stopped reading before the end. */
  abandoned(): void;
}

interface Slab {
  readonly buffer: Buffer;
  end: number;
  readonly own: boolean;
}

/**
 * Bytes that arrived and were not consumed yet, in order. What one byte of payload costs here is bounded whatever the
 * size of the guest's frames: small ones are packed into slabs, their borders into one integer each. The bytes
 * themselves are bounded by the credit that the stream enforces.
 */
export class InboundQueue implements AsyncIterable<Chunk> {
  readonly #owner: InboundQueueOwner;
  #slabs: Slab[] = [];
  #slabAt = 0;
  #runs: number[] = [];
  #runAt = 0;
  #bytes = 0;
  #takers: Taker[] = [];
  #ended = false;
  #error: HoldfastError | null = null;

  constructor(owner: InboundQueueOwner) {
    this.#owner = owner;
  }

  /** Bytes that wait for the consumer. */
  get queuedBytes(): number {
    return this.#bytes;
  }

  /** Takes a payload in; it is only kept, not copied, when large. After the end it is dropped. */
  push(channel: number, payload: Buffer): void {
    if (this.#ended) return;
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#owner.consumed(channel, payload.length);
      taker({ channel, data: payload }, null);
      return;
    }
    this.#bytes += payload.length;
    if (payload.length >= copyBelowBytes) {
      this.#slabs.push({ buffer: payload, end: payload.length, own: false });
      this.#runs.push((channel << channelShift) | payload.length);
      return;
    }
    this.#pack(channel, payload);
  }

  /** No more will come. What waits is still delivered, then the error if there is one. */
  end(error: HoldfastError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    const takers = this.#takers;
    this.#takers = [];
    for (const taker of takers) taker(null, error);
  }

  /** Hands the next chunk to `taker`, now or when it arrives. */
  pull(taker: Taker): void {
    const run = this.#runs[this.#runAt];
    if (run !== undefined) {
      const chunk = this.#unpack(run);
      this.#owner.consumed(chunk.channel, chunk.data.length);
      taker(chunk, null);
    } else if (this.#ended) taker(null, this.#error);
    else this.#takers.push(taker);
  }

  /** Drops what waits and all that will come, and tells the owner if more could have come. */
  abandon(): void {
    this.#slabs = [];
    this.#slabAt = 0;
    this.#runs = [];
    this.#runAt = 0;
    this.#bytes = 0;
    if (this.#ended) {
      this.#error = null;
      return;
    }
    this.end(null);
    this.#owner.abandoned();
  }

  [Symbol.asyncIterator](): AsyncIterator<Chunk, undefined> {
    return iterate(this, (chunk) => chunk);
  }

  #pack(channel: number, payload: Buffer): void {
    let slab = this.#slabs.at(-1);
    const last = this.#runs.at(-1);
    const fits = slab?.own === true && slab.end + payload.length <= slab.buffer.length;
    if (slab === undefined || !fits) {
      slab = { buffer: Buffer.allocUnsafeSlow(Math.max(slabBytes, payload.length)), end: 0, own: true };
      this.#slabs.push(slab);
      this.#runs.push((channel << channelShift) | payload.length);
    } else if (last !== undefined && mergeable(last, channel, payload.length)) {
      this.#runs[this.#runs.length - 1] = last + payload.length;
    } else this.#runs.push((channel << channelShift) | payload.length);
    slab.buffer.set(payload, slab.end);
    slab.end += payload.length;
  }

  #unpack(run: number): Chunk {
    const length = run & lengthMask;
    let slab = this.#slabs[0];
    if (slab !== undefined && this.#slabAt === slab.end) {
      this.#slabs.shift();
      this.#slabAt = 0;
      slab = this.#slabs[0];
    }
    const data = slab?.buffer.subarray(this.#slabAt, this.#slabAt + length) ?? Buffer.alloc(0);
    this.#slabAt += length;
    this.#bytes -= length;
    this.#runAt += 1;
    if (this.#runAt === this.#runs.length) {
      this.#runs = [];
      this.#runAt = 0;
      this.#slabs = [];
      this.#slabAt = 0;
    } else if (this.#runAt === 4_096) {
      this.#runs.splice(0, this.#runAt);
      this.#runAt = 0;
    }
    return { channel: run >>> channelShift, data };
  }
}

function mergeable(run: number, channel: number, bytes: number): boolean {
  return run >>> channelShift === channel && (run & lengthMask) + bytes <= maxRunBytes;
}

/** Iterates over a queue, each chunk seen through `view`. Leaving the loop early abandons the queue. */
export function iterate<T>(queue: InboundQueue, view: (chunk: Chunk) => T): AsyncIterableIterator<T, undefined> {
  return {
    next: () =>
      new Promise((resolve, reject) => {
        queue.pull((chunk, error) => {
          if (chunk !== null) resolve({ done: false, value: view(chunk) });
          else if (error !== null) reject(error);
          else resolve({ done: true, value: undefined });
        });
      }),
    return: () => {
      queue.abandon();
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The bytes of a queue whose channel does not matter. */
export const bytesOf = (queue: InboundQueue): AsyncIterableIterator<Uint8Array, undefined> =>
  iterate(queue, (chunk) => chunk.data);
