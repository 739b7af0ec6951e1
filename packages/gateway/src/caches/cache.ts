import type { WireFormat } from '../doors/endpoint.ts';
import type { JsonObject, Usage } from '../formats/format.ts';

/**
 * Answers kept for whoever asks the same again. Off unless a route or the caller's header `holdfast-cache` asks for it;
 * an entry belongs to one workspace and is never seen by another.
 */

/** What a model route says of caching; null where it says nothing. */
export interface CachePolicy {
  /** How long answers to the very same request are kept, in seconds; null: not at all. */
  readonly exactTtlSeconds: number | null;
  /** Answers to requests whose last message means nearly the same; null: not at all. */
  readonly semantic: SemanticPolicy | null;
}

export interface SemanticPolicy {
  /** Cosine similarity from which two messages count as the same, from 0 to 1. */
  readonly threshold: number;
  /** Model route, or model, that embeds; it is called through the gateway itself. */
  readonly embeddingModel: string;
  readonly ttlSeconds: number;
}

/** A call as the cache sees it. */
export interface CacheRequest {
  readonly workspaceId: string;
  readonly format: WireFormat;
  /** The path's kind of call, such as `chat.completions`. */
  readonly endpoint: string;
  /** The model or route that the caller asked for. */
  readonly model: string;
  readonly streamed: boolean;
  readonly body: JsonObject;
  /** Headers of the caller that change the answer, such as `anthropic-beta`, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A whole answer as it left the gateway: a document, or all events of a stream. */
export interface StoredAnswer {
  readonly status: number;
  /** `content-type` and those of the provider's headers that callers get. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** True: `body` is server-sent events, to be sent as such, one write for each. */
  readonly streamed: boolean;
  /** What the answer cost when it was made. */
  readonly usage: Usage | null;
}

export interface CacheHit {
  readonly kind: 'exact' | 'semantic';
  /** Cosine similarity; 1 for an exact hit. */
  readonly similarity: number;
  readonly ageSeconds: number;
  readonly answer: StoredAnswer;
}

/** What came of a look-up, and where to put the answer after a miss. */
export interface CacheLookup {
  readonly hit: CacheHit | null;
  /** Keeps a successful, finished answer; anything else, and what is too large, is ignored. Never rejects. */
  store(answer: StoredAnswer): Promise<void>;
}

/** Embeds one text through the gateway, so that it is routed, budgeted and written down as any other call. */
export type EmbedText = (text: string, model: string, signal: AbortSignal) => Promise<Float32Array>;

export interface AnswerCache {
  /**
   * Looks up a call whose plan says that it may be answered from a cache. A cache that fails is a miss, and is logged.
   * `embed` is needed for semantic plans only.
   */
  lookup(request: CacheRequest, plan: CachePlan, embed: EmbedText, signal: AbortSignal): Promise<CacheLookup>;
  /** Forgets what a workspace has, of one model or all; answers how many entries that were. */
  purge(workspaceId: string, model: string | null): Promise<number>;
  stats(workspaceId: string): Promise<CacheStats>;
  close(): Promise<void>;
}

export interface CacheStats {
  readonly entries: number;
  readonly bytes: number;
  readonly semanticEntries: number;
}

/** What is to be done for one call: the route's policy as the caller's header changed it. */
export interface CachePlan {
  readonly exactTtlSeconds: number | null;
  readonly semantic: SemanticPolicy | null;
  /** False: ask the model even when there is an answer, and replace it. */
  readonly read: boolean;
}
