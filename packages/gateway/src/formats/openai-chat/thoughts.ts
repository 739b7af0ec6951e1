import type { JsonObject } from '../format.ts';
import { isObject, type JsonDraft, type Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Origin, Part, Signature, ThinkingPart } from '../neutral.ts';
import { signatureOf } from '../signature.ts';

/**
 * Chat completions have no place for thinking. Servers that give it anyway agree on `reasoning_content` for the text,
 * `reasoning_details` (OpenRouter's) for what has to come back unchanged, and `extra_content` (Google's) for the
 * signature of a call. https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning
 */
const formatNames: Readonly<Record<Origin, string>> = {
  anthropic: 'anthropic-claude-v1',
  'anthropic-redacted': 'anthropic-claude-v1',
  openai: 'openai-responses-v1',
  gemini: 'google-gemini-v1',
};

const originOf = (detail: JsonObject): Origin | null => {
  if (detail.format === formatNames.openai) return 'openai';
  if (detail.format === formatNames.gemini) return 'gemini';
  if (detail.format !== formatNames.anthropic) return null;
  return detail.type === 'reasoning.encrypted' ? 'anthropic-redacted' : 'anthropic';
};

const thoughtOf = (detail: unknown, at: string): ThinkingPart | null => {
  if (!isObject(detail)) return null;
  const origin = originOf(detail);
  const words = [detail.text, detail.summary].find((one) => typeof one === 'string');
  const value = [detail.signature, detail.data].find((one) => typeof one === 'string');
  if (words === undefined && value === undefined) return null;
  const id = typeof detail.id === 'string' ? detail.id : '';
  const signature = origin === null || typeof value !== 'string' ? null : { ...signatureOf(value, origin, id) };
  return { kind: 'thinking', text: typeof words === 'string' ? words : '', signature, at };
};

/** Thinking in a message of the assistant; `reasoning_content` only repeats what the details say. */
export const thoughtsOf = (message: Members, losses: Losses): Part[] => {
  const at = message.path('reasoning_details');
  const details = message.list('reasoning_details');
  const text = message.text('reasoning_content') ?? message.text('reasoning');
  message.ignore('reasoning', 'reasoning_content');
  const parts: Part[] = [];
  for (const [i, detail] of details.entries()) {
    const part = thoughtOf(detail, `${at}[${i}]`);
    if (part === null) losses.add(`${at}[${i}]`);
    else parts.push(part);
  }
  if (parts.length === 0 && text !== null && text !== '')
    parts.push({ kind: 'thinking', text, signature: null, at: message.path('reasoning_content') });
  return parts;
};

/** One entry of `reasoning_details`. */
export const reasoningDetail = (text: string, signature: Signature | null, index: number): JsonObject => {
  const detail: JsonDraft = { type: 'reasoning.text' };
  if (signature === null) detail.text = text;
  else if (signature.origin === 'anthropic') {
    detail.text = text;
    detail.signature = signature.value;
  } else {
    detail.type = 'reasoning.encrypted';
    // A summary beside the token is what OpenAI shows of its thinking.
    if (text !== '') detail.summary = text;
    detail.data = signature.value;
    if (signature.id !== '') detail.id = signature.id;
  }
  if (signature !== null) detail.format = formatNames[signature.origin];
  detail.index = index;
  return detail;
};

/** Gemini's signature on a call, where Google's own endpoint in OpenAI's format has it. */
export const thoughtSignatureOf = (extraContent: unknown): Signature | null => {
  const google = isObject(extraContent) ? extraContent.google : null;
  const value = isObject(google) ? google.thought_signature : null;
  return typeof value === 'string' ? signatureOf(value, 'gemini') : null;
};

export const extraContent = (signature: Signature | null): JsonObject =>
  signature === null || signature.origin !== 'gemini'
    ? {}
    : { extra_content: { google: { thought_signature: signature.value } } };
