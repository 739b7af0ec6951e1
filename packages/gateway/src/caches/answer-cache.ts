import type { Clock, Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { AnswerCache, CacheHit, CacheLookup, CachePlan, CacheRequest, EmbedText, StoredAnswer } from './cache.ts';
import { type CacheLimits, CacheStore, defaultCacheLimits } from './cache-store.ts';
import { exactDigestOf, semanticFrameOf } from './semantic-frame.ts';
import { unitOf, VectorIndex } from './vector-index.ts';

export interface AnswerCacheOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<CacheLimits>;
}

const sweepMs = 60_000;
/** Entries that are nearest but gone in the meantime are skipped, up to so many. */
const mostTries = 5;

interface Embedded {
  readonly frame: Buffer;
  readonly vector: Float32Array;
}

/** Answers in PostgreSQL, so that all processes share them; see `AnswerCache`. */
class DatabaseCache implements AnswerCache {
  readonly #store: CacheStore;
  readonly #index: VectorIndex;
  readonly #clock: Clock;
  readonly #log: Log;
  #sweeping: Promise<void> = Promise.resolve();
  #cancelSweep: () => void;

  constructor({ database, clock, log, limits }: AnswerCacheOptions) {
    this.#store = new CacheStore(database, clock, { ...defaultCacheLimits, ...limits });
    this.#index = new VectorIndex(this.#store);
    this.#clock = clock;
    this.#log = log;
    this.#cancelSweep = clock.after(sweepMs, () => this.#sweepLater());
  }

  async lookup(request: CacheRequest, plan: CachePlan, embed: EmbedText, signal: AbortSignal): Promise<CacheLookup> {
    const digest = this.#digestOf(request);
    if (digest === null) return { hit: null, store: () => Promise.resolve() };
    const { workspaceId } = request;
    const ttlSeconds = Math.max(plan.exactTtlSeconds ?? 0, plan.semantic?.ttlSeconds ?? 0);
    // The very same request is a hit for whoever asked for a similar one, too.
    const exact = plan.read ? await this.#attempt(() => this.#store.byDigest(workspaceId, digest, ttlSeconds)) : null;
    if (exact !== null) {
      const hit: CacheHit = { kind: 'exact', similarity: 1, ...exact };
      return { hit, store: () => Promise.resolve() };
    }
    const embedded = await this.#attempt(() => this.#embed(request, plan, embed, signal));
    const hit = plan.read && embedded !== null ? await this.#attempt(() => this.#near(request, plan, embedded)) : null;
    if (hit !== null) return { hit, store: () => Promise.resolve() };
    const store = async (answer: StoredAnswer): Promise<void> => {
      if (answer.status !== 200 || (plan.exactTtlSeconds === null && embedded === null)) return;
      const entry = { workspaceId, digest, model: request.model, answer, semantic: embedded, ttlSeconds };
      await this.#attempt(() => this.#store.put(entry));
    };
    return { hit: null, store };
  }

  purge(workspaceId: string, model: string | null): Promise<number> {
    return this.#store.purge(workspaceId, model);
  }

  stats(workspaceId: string): ReturnType<CacheStore['stats']> {
    return this.#store.stats(workspaceId);
  }

  async close(): Promise<void> {
    this.#cancelSweep();
    await this.#sweeping;
  }

  /** Null for a body that has no digest, such as one that is nested too deeply: it is asked for anew each time. */
  #digestOf(request: CacheRequest): Buffer | null {
    try {
      return exactDigestOf(request);
    } catch (error) {
      this.#log.debug('a request has no place in the cache', { reason: String(error) });
      return null;
    }
  }

  async #embed(
    request: CacheRequest,
    { semantic }: CachePlan,
    embed: EmbedText,
    signal: AbortSignal,
  ): Promise<Embedded | null> {
    const found = semantic === null ? null : semanticFrameOf(request, semantic.embeddingModel);
    if (semantic === null || found === null) return null;
    const vector = unitOf(await embed(found.text, semantic.embeddingModel, signal));
    return vector === null ? null : { frame: found.frame, vector };
  }

  async #near(request: CacheRequest, { semantic }: CachePlan, embedded: Embedded): Promise<CacheHit | null> {
    if (semantic === null) return null;
    const { workspaceId } = request;
    const { frame, vector } = embedded;
    const neighbours = await this.#index.search(workspaceId, frame, vector, semantic.threshold);
    for (const { id, similarity } of neighbours.slice(0, mostTries)) {
      const entry = await this.#store.byId(workspaceId, id, semantic.ttlSeconds);
      if (entry !== null) return { kind: 'semantic', similarity, ...entry };
      this.#index.forget(workspaceId, frame, id);
    }
    return null;
  }

  /** A cache is there to help: when it fails, the call goes on without it. */
  async #attempt<T>(work: () => Promise<T | null>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      this.#log.warn('the cache failed', { reason: String(error) });
      return null;
    }
  }

  #sweepLater(): void {
    this.#sweeping = this.#attempt(() => this.#store.removeExpired().then(() => null)).then(() => undefined);
    this.#cancelSweep = this.#clock.after(sweepMs, () => this.#sweepLater());
  }
}

export const openAnswerCache = (options: AnswerCacheOptions): AnswerCache => new DatabaseCache(options);
