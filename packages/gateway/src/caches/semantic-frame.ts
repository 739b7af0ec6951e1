import type { JsonObject } from '../formats/format.ts';
import type { CacheRequest } from './cache.ts';
import { canonicalJson, digestOf } from './canonical-json.ts';

/** What of a request may differ in words, and a digest of all that may not. */
export interface SemanticFrame {
  /** The text of the last message, which is the user's. */
  readonly text: string;
  readonly frame: Buffer;
}

/** Longer messages are tasks rather than questions, and no vector tells two of them apart. */
const maxTextChars = 8_000;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The text of content that is nothing but text; null for images, tool results and the like. */
const plainText = (content: unknown): string | null => {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  const texts = content.map((part: unknown) => {
    if (!isObject(part) || typeof part['text'] !== 'string') return null;
    const type = part['type'];
    return type === undefined || type === 'text' || type === 'input_text' ? part['text'] : null;
  });
  return texts.every((text) => text !== null) ? texts.join('\n') : null;
};

interface Split {
  readonly text: string;
  /** The body without that text. */
  readonly rest: JsonObject;
}

/** Takes the text out of the last turn in `body[list]`, when that is a user's and all text. */
const splitTurns = (body: JsonObject, list: string, content: string): Split | null => {
  const turns = body[list];
  if (!Array.isArray(turns)) return null;
  const last: unknown = turns.at(-1);
  if (!isObject(last) || last['role'] !== 'user') return null;
  const text = plainText(last[content]);
  if (text === null) return null;
  return { text, rest: { ...body, [list]: [...turns.slice(0, -1), { ...last, [content]: null }] } };
};

const splitOf = ({ format, body }: CacheRequest): Split | null => {
  switch (format) {
    case 'openai-chat':
    case 'anthropic':
      return splitTurns(body, 'messages', 'content');
    case 'openai-responses':
      return typeof body['input'] === 'string'
        ? { text: body['input'], rest: { ...body, input: null } }
        : splitTurns(body, 'input', 'content');
    case 'gemini':
      return splitTurns(body, 'contents', 'parts');
    default:
      return null;
  }
};

/**
 * Divides a request into the last message, which is compared by meaning, and everything else (system prompt, earlier
 * turns, tools, parameters, model), which must be the same. Null when the last message is not a user's plain text.
 */
export const semanticFrameOf = (request: CacheRequest, embeddingModel: string): SemanticFrame | null => {
  const split = splitOf(request);
  if (split === null || split.text.trim() === '' || split.text.length > maxTextChars) return null;
  const { endpoint, format, model, streamed, headers } = request;
  const frame = digestOf(
    'frame',
    endpoint,
    format,
    model,
    String(streamed),
    embeddingModel,
    canonicalJson(split.rest),
    canonicalJson(headers),
  );
  return { text: split.text, frame };
};

/** Digest of everything that decides an answer. */
export const exactDigestOf = ({ endpoint, format, model, streamed, body, headers }: CacheRequest): Buffer =>
  digestOf('exact', endpoint, format, model, String(streamed), canonicalJson(body), canonicalJson(headers));
