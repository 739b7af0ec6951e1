import { z } from 'zod';
import { routes } from './route.ts';

/** Longest body of a model call: prompts carry images. */
export const maxModelRequestBytes = 33_554_432;

/** OpenAI's list of models, as `/v1/models` answers it. */
export const modelList = z.object({
  object: z.literal('list'),
  data: z.array(
    z.object({
      id: z.string(),
      object: z.literal('model'),
      created: z.number(),
      /** The provider's configured name, or `route` for a model route. */
      owned_by: z.string(),
    }),
  ),
});

/** OpenAI's error envelope, with a code of the error catalogue in it. */
export const openAiError = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
    details: z.record(z.string(), z.unknown()),
  }),
});

/** A door of the gateway: the body and the answer are in the format of a provider, and so are errors. */
const door = {
  method: 'POST',
  role: 'developer',
  answer: 'bytes',
  bodyKind: 'bytes',
  maxBodyBytes: maxModelRequestBytes,
} as const;

const geminiModel = z.object({ model: z.string().min(1).max(512) });
const geminiDoor = { ...door, params: geminiModel } as const;
const geminiStreamQuery = z.object({ alt: z.string().max(16).optional() });

export const gatewayRoutes = routes({
  chatCompletions: {
    ...door,
    path: '/v1/chat/completions',
    summary: "Chat completions in OpenAI's format, passed through to a provider or translated for it.",
  },
  responses: { ...door, path: '/v1/responses', summary: "Responses in OpenAI's format." },
  embeddings: { ...door, path: '/v1/embeddings', summary: "Embeddings in OpenAI's format." },
  imageGenerations: { ...door, path: '/v1/images/generations', summary: "Make images, in OpenAI's format." },
  imageEdits: { ...door, path: '/v1/images/edits', summary: "Change images, in OpenAI's format." },
  imageVariations: { ...door, path: '/v1/images/variations', summary: "Vary an image, in OpenAI's format." },
  audioSpeech: { ...door, path: '/v1/audio/speech', summary: "Speak a text, in OpenAI's format." },
  audioTranscriptions: { ...door, path: '/v1/audio/transcriptions', summary: "Write down speech, in OpenAI's format." },
  audioTranslations: { ...door, path: '/v1/audio/translations', summary: "Translate speech, in OpenAI's format." },
  messages: { ...door, path: '/v1/messages', summary: "Messages in Anthropic's format." },
  countTokens: { ...door, path: '/v1/messages/count_tokens', summary: "Count tokens, in Anthropic's format." },
  geminiGenerate: {
    ...door,
    path: '/v1beta/models/{model}:generateContent',
    params: geminiModel,
    summary: "Generate content, in Gemini's format.",
  },
  geminiStream: {
    ...door,
    path: '/v1beta/models/{model}:streamGenerateContent',
    params: geminiModel,
    query: geminiStreamQuery,
    summary: "Generate content as a stream, in Gemini's format; with `alt=sse` as server-sent events.",
  },
  geminiEmbed: {
    ...geminiDoor,
    path: '/v1beta/models/{model}:embedContent',
    summary: "Embed content, in Gemini's format.",
  },
  geminiBatchEmbed: {
    ...geminiDoor,
    path: '/v1beta/models/{model}:batchEmbedContents',
    summary: "Embed several contents, in Gemini's format.",
  },
  geminiGenerateV1: {
    ...geminiDoor,
    path: '/v1/models/{model}:generateContent',
    summary: "Generate content, in Gemini's format, where its newer clients look for it.",
  },
  geminiStreamV1: {
    ...geminiDoor,
    path: '/v1/models/{model}:streamGenerateContent',
    query: geminiStreamQuery,
    summary: "Generate content as a stream, in Gemini's format, where its newer clients look for it.",
  },
  geminiEmbedV1: {
    ...geminiDoor,
    path: '/v1/models/{model}:embedContent',
    summary: "Embed content, in Gemini's format, where its newer clients look for it.",
  },
  geminiBatchEmbedV1: {
    ...geminiDoor,
    path: '/v1/models/{model}:batchEmbedContents',
    summary: "Embed several contents, in Gemini's format, where its newer clients look for it.",
  },
  listModels: {
    method: 'GET',
    path: '/v1/models',
    role: 'viewer',
    answer: 'json',
    summary: "The models that routes and providers serve, in OpenAI's format.",
    response: modelList,
  },
});

export type ModelList = z.output<typeof modelList>;
export type OpenAiError = z.output<typeof openAiError>;
