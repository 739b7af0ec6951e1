import type { Format } from '../formats/format.ts';

/** What callers ask for, whichever path and HTTP method it came by; the ledger and budgets per endpoint use these names. */
export type Endpoint =
  | 'chat.completions'
  | 'responses'
  | 'embeddings'
  | 'images.generations'
  | 'images.edits'
  | 'images.variations'
  | 'audio.speech'
  | 'audio.transcriptions'
  | 'audio.translations'
  | 'messages'
  | 'messages.count_tokens'
  | 'gemini.generate'
  | 'gemini.embed'
  | 'gemini.batch_embed';

/** How a body is written. The four of `Format` are translated into each other; the others only pass through. */
export type WireFormat =
  | Format
  | 'openai-embeddings'
  | 'openai-images'
  | 'openai-audio'
  | 'gemini-embed'
  | 'anthropic-count';

/** Whose clients come by this door: decides the shape of errors and where the key is looked for. */
export type DoorFamily = 'openai' | 'anthropic' | 'gemini';

/** True for the formats that are translated into each other. */
export const isTranslatable = (format: WireFormat): format is Format =>
  format === 'openai-chat' || format === 'openai-responses' || format === 'anthropic' || format === 'gemini';
