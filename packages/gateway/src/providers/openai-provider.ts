import type { Endpoint, WireFormat } from '../doors/endpoint.ts';
import type { HttpClient } from './http-client.ts';
import { placeOf } from './place.ts';
import type { Provider, ProviderCall } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';

type OpenAi = Extract<ProviderConfiguration, { kind: 'openai' }>;
type Compatible = Extract<ProviderConfiguration, { kind: 'openai-compatible' }>;

const pathOfEndpoint: Partial<Record<Endpoint, string>> = {
  embeddings: '/embeddings',
  'images.generations': '/images/generations',
  'images.edits': '/images/edits',
  'images.variations': '/images/variations',
  'audio.speech': '/audio/speech',
  'audio.transcriptions': '/audio/transcriptions',
  'audio.translations': '/audio/translations',
  'messages.count_tokens': '/messages/count_tokens',
};

/** Below the base URL of a server with OpenAI's paths. */
export const openAiPath = ({ format, endpoint }: ProviderCall): string => {
  if (format === 'openai-chat') return '/chat/completions';
  if (format === 'openai-responses') return '/responses';
  if (format === 'anthropic') return '/messages';
  return pathOfEndpoint[endpoint] ?? `/${endpoint}`;
};

const chatAndMore = new Set<WireFormat>(['openai-embeddings', 'openai-images', 'openai-audio']);

/** Ollama, vLLM, llama.cpp, Groq, Mistral, OpenRouter, and whatever else has OpenAI's paths below a base URL. */
export const compatibleProvider = (config: Compatible, http: HttpClient): Provider => {
  const { origin, prefix } = placeOf(config.baseUrl);
  const spoken = new Set<WireFormat>(config.formats);
  const first = config.formats.includes('openai-chat') ? 'openai-chat' : (config.formats[0] ?? 'openai-chat');
  const { apiKey } = config;
  const own = {
    ...config.headers,
    ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey.reveal()}` }),
  };
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: config.prices ?? config.name,
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    formatFor(_endpoint, format) {
      if (spoken.has(format) || chatAndMore.has(format)) return format;
      if (format === 'anthropic-count') return spoken.has('anthropic') ? format : null;
      return format === 'gemini-embed' ? null : first;
    },
    send: (call, signal) =>
      http.send(
        {
          origin,
          path: `${prefix}${openAiPath(call)}`,
          method: 'POST',
          headers: { ...call.headers, 'content-type': call.contentType, ...own },
          body: call.body,
        },
        signal,
      ),
  };
};

/** OpenAI itself. */
export const openAiProvider = (config: OpenAi, http: HttpClient): Provider => {
  const { organization, project } = config;
  const headers = {
    ...(organization === undefined ? {} : { 'openai-organization': organization }),
    ...(project === undefined ? {} : { 'openai-project': project }),
  };
  const { organization: _o, project: _p, ...shared } = config;
  return {
    ...compatibleProvider(
      { ...shared, kind: 'openai-compatible', formats: ['openai-chat', 'openai-responses'], headers },
      http,
    ),
    kind: 'openai',
    priceProvider: config.prices ?? 'openai',
  };
};
