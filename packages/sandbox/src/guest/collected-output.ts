/** Output of which only so much was kept: its beginning and its end. */
export interface CollectedOutput {
  readonly bytes: Uint8Array;
  /** Left out between the two halves. */
  readonly droppedBytes: number;
}

/**
 * Reads `output` to its end and keeps at most `maxBytes` of it, one half from the beginning and one from the end, so
 * that both the cause and the last words of a long output survive. Memory is bounded by twice `maxBytes`.
 */
export async function collectOutput(output: AsyncIterable<Uint8Array>, maxBytes: number): Promise<CollectedOutput> {
  const head = new Head(Math.ceil(maxBytes / 2));
  const tail = new Tail(Math.floor(maxBytes / 2));
  for await (const chunk of output) {
    const rest = head.take(chunk);
    if (rest.byteLength > 0) tail.take(rest);
  }
  return { bytes: Buffer.concat([head.bytes(), ...tail.parts()]), droppedBytes: tail.droppedBytes };
}

/** Grows with what it holds: most outputs are far smaller than the limit. */
class Head {
  readonly #maxBytes: number;
  #buffer = Buffer.alloc(0);
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Returns what does not fit. */
  take(chunk: Uint8Array): Uint8Array {
    const length = Math.min(chunk.byteLength, this.#maxBytes - this.#length);
    if (length === 0) return chunk;
    const end = this.#length + length;
    if (end > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#maxBytes, Math.max(end, this.#buffer.length * 2)));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    this.#buffer.set(chunk.subarray(0, length), this.#length);
    this.#length = end;
    return chunk.subarray(length);
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}

/** A ring of the last bytes, allocated with the first of them. */
class Tail {
  readonly #maxBytes: number;
  #ring = Buffer.alloc(0);
  #at = 0;
  #taken = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get droppedBytes(): number {
    return Math.max(0, this.#taken - this.#maxBytes);
  }

  take(chunk: Uint8Array): void {
    this.#taken += chunk.byteLength;
    if (this.#maxBytes === 0) return;
    if (this.#ring.length === 0) this.#ring = Buffer.allocUnsafeSlow(this.#maxBytes);
    const kept = chunk.subarray(Math.max(0, chunk.byteLength - this.#maxBytes));
    const first = kept.subarray(0, this.#maxBytes - this.#at);
    this.#ring.set(first, this.#at);
    this.#ring.set(kept.subarray(first.byteLength), 0);
    this.#at = (this.#at + kept.byteLength) % this.#maxBytes;
  }

  /** Oldest first. */
  parts(): Buffer[] {
    if (this.#taken < this.#maxBytes) return [this.#ring.subarray(0, this.#taken)];
    return [this.#ring.subarray(this.#at), this.#ring.subarray(0, this.#at)];
  }
}
