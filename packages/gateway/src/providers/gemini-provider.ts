import { required } from './credentials.ts';
import type { HttpClient } from './http-client.ts';
import { placeOf } from './place.ts';
import type { Provider, ProviderCall } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';

type Gemini = Extract<ProviderConfiguration, { kind: 'gemini' }>;

const pathOf = ({ endpoint, format, model, stream }: ProviderCall): string => {
  // Google serves embeddings in OpenAI's format as well.
  if (format === 'openai-embeddings') return '/v1beta/openai/embeddings';
  const name = `/v1beta/models/${encodeURIComponent(model.replace(/^models\//, ''))}`;
  if (format === 'gemini-embed')
    return `${name}:${endpoint === 'gemini.batch_embed' ? 'batchEmbedContents' : 'embedContent'}`;
  return stream ? `${name}:streamGenerateContent?alt=sse` : `${name}:generateContent`;
};

export const geminiProvider = (config: Gemini, http: HttpClient): Provider => {
  const { origin, prefix } = placeOf(config.baseUrl);
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: config.prices ?? 'google',
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    formatFor(_endpoint, format) {
      if (format === 'gemini-embed' || format === 'openai-embeddings') return format;
      return format === 'openai-chat' || format === 'openai-responses' || format === 'anthropic' || format === 'gemini'
        ? 'gemini'
        : null;
    },
    async send(call, signal) {
      const key = required(config.apiKey, config.name);
      const headers = {
        ...call.headers,
        'content-type': call.contentType,
        ...(call.format === 'openai-embeddings' ? { authorization: `Bearer ${key}` } : { 'x-goog-api-key': key }),
      };
      const path = `${prefix}${pathOf(call)}`;
      return await http.send({ origin, path, method: 'POST', headers, body: call.body }, signal);
    },
  };
};
