import { createHash } from 'node:crypto';
import type { JsonObject } from '../formats/format.ts';

/** Fields by which callers name their conversations, or what is cached for them. */
const names = ['prompt_cache_key', 'conversation', 'user'] as const;

/**
 * Names the conversation that a request belongs to when its headers do not: a field that callers give for such ends, else
 * how it began, which every later request of it repeats. Null when it tells nothing.
 */
export const conversationOf = (body: JsonObject): string | null => {
  for (const name of names) {
    const value = body[name];
    if (typeof value === 'string' && value !== '') return `${name}:${value.slice(0, 256)}`;
  }
  const list = body.messages ?? body.contents ?? body.input;
  const begin = Array.isArray(list) ? list.slice(0, 2) : list;
  if (begin === undefined) return null;
  const frame = [body.system ?? body.instructions ?? body.systemInstruction ?? null, begin];
  return createHash('sha1').update(JSON.stringify(frame)).digest('base64url');
};
