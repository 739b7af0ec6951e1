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

export const gatewayRoutes = routes({
  chatCompletions: {
    method: 'POST',
    path: '/v1/chat/completions',
    role: 'developer',
    answer: 'bytes',
    bodyKind: 'bytes',
    maxBodyBytes: maxModelRequestBytes,
    summary: "Chat completions in OpenAI's format, passed through to a provider; errors in OpenAI's envelope.",
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
