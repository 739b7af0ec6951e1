/** A stored vector and the entry that it leads to. */
export interface StoredVector {
  readonly id: number;
  readonly vector: Float32Array;
}

/** Where vectors are kept; ids grow. */
export interface VectorSource {
  /** The newest entries of a frame with ids above `after`, at most `limit`. */
  read(workspaceId: string, frame: Uint8Array, after: number, limit: number): Promise<readonly StoredVector[]>;
}

export interface Neighbour {
  readonly id: number;
  readonly similarity: number;
}

/** Vectors of one frame that are compared, the newest. */
const mostPerFrame = 1_000;
/** All frames together: 64 MiB. */
const mostFloats = 16_777_216;

interface Frame {
  newest: number;
  vectors: StoredVector[];
}

/** The vector at length 1; null when it has none, or is not made of numbers. */
export const unitOf = (vector: Float32Array): Float32Array | null => {
  let sum = 0;
  for (const x of vector) sum += x * x;
  const length = Math.sqrt(sum);
  if (!(length > 0) || !Number.isFinite(length)) return null;
  return vector.map((x) => x / length);
};

const dot = (a: Float32Array, b: Float32Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
};

/**
 * Vectors in memory, so that a look-up reads only those that are new since the last one. A search compares with each of
 * its frame: a thousand of 1,536 numbers take about 2 ms, which an index structure would not make worth its upkeep.
 */
export class VectorIndex {
  readonly #source: VectorSource;
  /** In the order of their last use. */
  readonly #frames = new Map<string, Frame>();
  #floats = 0;

  constructor(source: VectorSource) {
    this.#source = source;
  }

  /** Entries at least that similar, the nearest first. `vector` has length 1. */
  async search(workspaceId: string, frame: Buffer, vector: Float32Array, threshold: number): Promise<Neighbour[]> {
    const { vectors } = await this.#current(workspaceId, frame);
    const found: Neighbour[] = [];
    for (const stored of vectors) {
      if (stored.vector.length !== vector.length) continue;
      const similarity = Math.min(1, dot(stored.vector, vector));
      if (similarity >= threshold) found.push({ id: stored.id, similarity });
    }
    return found.sort((a, b) => b.similarity - a.similarity || b.id - a.id);
  }

  /** An entry is gone. */
  forget(workspaceId: string, frame: Buffer, id: number): void {
    const known = this.#frames.get(keyOf(workspaceId, frame));
    const at = known?.vectors.findIndex((stored) => stored.id === id) ?? -1;
    if (known === undefined || at === -1) return;
    for (const gone of known.vectors.splice(at, 1)) this.#floats -= gone.vector.length;
  }

  async #current(workspaceId: string, frame: Buffer): Promise<Frame> {
    const key = keyOf(workspaceId, frame);
    const after = this.#frames.get(key)?.newest ?? 0;
    const read = await this.#source.read(workspaceId, frame, after, mostPerFrame);
    // Another search may have read the same in the meantime.
    const known = this.#frames.get(key) ?? { newest: 0, vectors: [] };
    const fresh = read.filter(({ id }) => id > known.newest).sort((a, b) => a.id - b.id);
    known.vectors.push(...fresh);
    known.newest = fresh.at(-1)?.id ?? known.newest;
    for (const { vector } of fresh) this.#floats += vector.length;
    for (const gone of known.vectors.splice(0, Math.max(0, known.vectors.length - mostPerFrame)))
      this.#floats -= gone.vector.length;
    this.#frames.delete(key);
    this.#frames.set(key, known);
    this.#evict();
    return known;
  }

  #evict(): void {
    for (const [key, frame] of this.#frames) {
      if (this.#floats <= mostFloats || this.#frames.size === 1) break;
      for (const { vector } of frame.vectors) this.#floats -= vector.length;
      this.#frames.delete(key);
    }
  }
}

const keyOf = (workspaceId: string, frame: Buffer): string => `${workspaceId}\0${frame.toString('base64')}`;
