import { createHash } from 'node:crypto';
import type { Format } from './format.ts';

/** Longest id of a call that each format takes; Anthropic takes no other characters than these. */
const longest: Readonly<Record<Format, number>> = {
  'openai-chat': 40,
  'openai-responses': 64,
  anthropic: 64,
  gemini: 128,
};

const plain = /^[\w-]+$/;

/**
 * The id of a call as `format` takes it. Equal ids stay equal and different ones different, for a call and its result
 * are told apart by nothing else.
 */
export const callIdFor = (format: Format, id: string): string => {
  if (id.length > 0 && id.length <= longest[format] && (format !== 'anthropic' || plain.test(id))) return id;
  return `call_${createHash('sha256').update(id).digest('hex').slice(0, 32)}`;
};

/** The id of a call that its provider gave none: unique within the conversation when `answerId` is. */
export const madeCallId = (answerId: string | null, choice: number, position: number): string =>
  `call_${answerId === null || answerId === '' ? '' : `${answerId}_`}${choice === 0 ? '' : `${choice}_`}${position}`;
