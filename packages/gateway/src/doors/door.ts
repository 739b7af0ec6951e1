import type { DoorFamily, Endpoint, WireFormat } from './endpoint.ts';

/** One way in: a path, and what comes by it. */
export interface Door {
  readonly endpoint: Endpoint;
  readonly family: DoorFamily;
  readonly format: WireFormat;
  /** Whether the answer is a stream: the body says, or the path does. */
  readonly stream: 'body' | boolean;
  /** The field that must be a list of objects. */
  readonly list: string | null;
  readonly takesForms: boolean;
  /** The answer is JSON or, when asked for, server-sent events; false for audio and for texts of other forms. */
  readonly isJson: boolean;
  /** No provider bills it. */
  readonly isFree: boolean;
}

const openAi = {
  family: 'openai',
  stream: 'body',
  list: null,
  takesForms: false,
  isJson: true,
  isFree: false,
} as const;
const image = { ...openAi, format: 'openai-images', takesForms: true } as const;
const audio = { ...openAi, format: 'openai-audio', takesForms: true, isJson: false } as const;
const gemini = { family: 'gemini', list: null, takesForms: false, isJson: true, isFree: false } as const;

const geminiGenerate = { ...gemini, endpoint: 'gemini.generate', format: 'gemini', list: 'contents' } as const;
const geminiEmbed = { ...gemini, endpoint: 'gemini.embed', format: 'gemini-embed', stream: false } as const;
const geminiBatchEmbed = { ...geminiEmbed, endpoint: 'gemini.batch_embed', list: 'requests' } as const;

/** By the names of the contract's routes. */
export const doors = {
  chatCompletions: { ...openAi, endpoint: 'chat.completions', format: 'openai-chat', list: 'messages' },
  responses: { ...openAi, endpoint: 'responses', format: 'openai-responses' },
  embeddings: { ...openAi, endpoint: 'embeddings', format: 'openai-embeddings', stream: false },
  imageGenerations: { ...image, endpoint: 'images.generations' },
  imageEdits: { ...image, endpoint: 'images.edits' },
  imageVariations: { ...image, endpoint: 'images.variations' },
  audioSpeech: { ...audio, endpoint: 'audio.speech' },
  audioTranscriptions: { ...audio, endpoint: 'audio.transcriptions' },
  audioTranslations: { ...audio, endpoint: 'audio.translations' },
  messages: { ...openAi, family: 'anthropic', endpoint: 'messages', format: 'anthropic', list: 'messages' },
  countTokens: {
    ...{ ...openAi, family: 'anthropic', endpoint: 'messages.count_tokens', format: 'anthropic-count' },
    ...{ list: 'messages', stream: false, isFree: true },
  },
  geminiGenerate: { ...geminiGenerate, stream: false },
  geminiStream: { ...geminiGenerate, stream: true },
  geminiEmbed,
  geminiBatchEmbed,
  geminiGenerateV1: { ...geminiGenerate, stream: false },
  geminiStreamV1: { ...geminiGenerate, stream: true },
  geminiEmbedV1: geminiEmbed,
  geminiBatchEmbedV1: geminiBatchEmbed,
} as const satisfies Record<string, Door>;

export type DoorName = keyof typeof doors;
