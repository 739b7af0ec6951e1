import { HoldfastError } from '@holdfast/core';
import type { CacheHit, CachePlan, CachePolicy, SemanticPolicy } from './cache.ts';

/** The header by which a caller asks for a cache, and by which an answer says what became of that. */
export const cacheHeaderName = 'holdfast-cache';

/** For callers who ask for a cache on a route that says nothing of one. */
const defaultTtlSeconds = 3_600;
const defaultThreshold = 0.95;
const maxTtlSeconds = 2_592_000;
const maxHeaderChars = 512;

const invalid = (reason: string): HoldfastError =>
  new HoldfastError('request.invalid', `The header ${cacheHeaderName} is not valid: ${reason}.`, {
    header: cacheHeaderName,
  });

interface Wish {
  readonly words: ReadonlySet<string>;
  readonly settings: ReadonlyMap<string, string>;
}

const known = new Set(['off', 'exact', 'semantic', 'refresh']);
const settable = new Set(['ttl', 'threshold', 'embedding-model']);

/** `exact; ttl=60` */
const parse = (header: string): Wish => {
  if (header.length > maxHeaderChars) throw invalid('it is too long');
  const words = new Set<string>();
  const settings = new Map<string, string>();
  for (const part of header.split(/[;,]/).map((text) => text.trim())) {
    const [name = '', value] = part.split(/=(.*)/s).map((text) => text.trim());
    if (part === '') continue;
    if (value === undefined ? !known.has(name) : !settable.has(name))
      throw invalid(`"${name.slice(0, 32)}" is not known`);
    if (value === undefined) words.add(name);
    else settings.set(name, value);
  }
  return { words, settings };
};

const numberOf = (settings: Wish['settings'], name: string, min: number, max: number): number | null => {
  const text = settings.get(name);
  if (text === undefined) return null;
  const value = Number(text);
  if (text === '' || !(value >= min && value <= max)) throw invalid(`${name} must be from ${min} to ${max}`);
  return value;
};

const semanticOf = (policy: SemanticPolicy | null, { settings }: Wish, ttl: number | null): SemanticPolicy => {
  const embeddingModel = settings.get('embedding-model') ?? policy?.embeddingModel;
  if (embeddingModel === undefined) throw invalid('the route names no embedding model, and neither does the header');
  return {
    embeddingModel,
    threshold: numberOf(settings, 'threshold', 0, 1) ?? policy?.threshold ?? defaultThreshold,
    ttlSeconds: ttl ?? policy?.ttlSeconds ?? defaultTtlSeconds,
  };
};

/**
 * What to do for one call: the route's policy, changed by the caller's header `holdfast-cache`, such as `off`, `exact`,
 * `semantic; threshold=0.9`, `exact; ttl=60` or `refresh` (ask the model, and keep its answer). Null: no cache at all.
 * Errors: `request.invalid` for a header that makes no sense.
 */
export const cachePlanOf = (policy: CachePolicy | null, header: string | undefined): CachePlan | null => {
  if (header === undefined || header.trim() === '') {
    if (policy === null || (policy.exactTtlSeconds === null && policy.semantic === null)) return null;
    return { exactTtlSeconds: policy.exactTtlSeconds, semantic: policy.semantic, read: true };
  }
  const wish = parse(header);
  const { words } = wish;
  if (words.has('off')) return null;
  const ttl = numberOf(wish.settings, 'ttl', 1, maxTtlSeconds);
  const asked = words.has('exact') || words.has('semantic');
  const exact = asked ? words.has('exact') : policy?.exactTtlSeconds != null || policy?.semantic == null;
  const semantic = asked ? words.has('semantic') : policy?.semantic != null;
  return {
    exactTtlSeconds: exact ? (ttl ?? policy?.exactTtlSeconds ?? defaultTtlSeconds) : null,
    semantic: semantic ? semanticOf(policy?.semantic ?? null, wish, ttl) : null,
    read: !words.has('refresh'),
  };
};

/** What the answer's header says: `miss`, or `hit` with its kind, its similarity and its age in seconds. */
export const cacheHeaderOf = (hit: CacheHit | null): string =>
  hit === null
    ? 'miss'
    : `hit; kind=${hit.kind}; similarity=${hit.similarity.toFixed(4)}; age=${Math.max(0, Math.round(hit.ageSeconds))}`;
