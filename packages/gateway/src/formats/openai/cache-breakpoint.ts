import type { JsonObject } from '../format.ts';
import { isObject, type Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Cache } from '../neutral.ts';

/**
 * The cache breakpoint of a content part: OpenAI's own, or `cache_control` as Anthropic has it, which many clients of
 * OpenAI's format send for Anthropic's models. Half an hour is longer than Anthropic's default, so it becomes its hour.
 */
export const readCache = (part: Members, losses: Losses): Cache => {
  const own = part.take('prompt_cache_breakpoint');
  const foreign = part.take('cache_control');
  if (isObject(own)) {
    if (own.ttl === '12h') losses.add(`${part.path('prompt_cache_breakpoint')}.ttl`);
    return own.ttl === undefined || own.ttl === null ? 'default' : 'long';
  }
  if (!isObject(foreign)) return null;
  return foreign.ttl === '1h' ? 'long' : 'default';
};

/** OpenAI's breakpoint; it has no lifetime of an hour, so a longer one is named. */
export const cacheBreakpoint = (cache: Cache, at: string, losses: Losses): JsonObject => {
  if (cache === null) return {};
  if (cache === 'long') losses.add(`${at}.cache_control.ttl`);
  return { prompt_cache_breakpoint: { mode: 'explicit' } };
};

/**
 * Whether a server of chat completions knows breakpoints. OpenAI's does; among those that imitate it are some that
 * refuse what they do not know, so models that are not OpenAI's get none.
 */
export const knowsBreakpoints = (model: string): boolean => /(^|\/)gpt-(?!oss)/.test(model);
