import { required } from './credentials.ts';
import type { HttpClient } from './http-client.ts';
import { placeOf } from './place.ts';
import type { Provider } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';

type Anthropic = Extract<ProviderConfiguration, { kind: 'anthropic' }>;

export const anthropicProvider = (config: Anthropic, http: HttpClient): Provider => {
  const { origin, prefix } = placeOf(config.baseUrl);
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: config.prices ?? 'anthropic',
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    formatFor(_endpoint, format) {
      if (format === 'anthropic-count') return format;
      return format === 'openai-chat' || format === 'openai-responses' || format === 'anthropic' || format === 'gemini'
        ? 'anthropic'
        : null;
    },
    async send(call, signal) {
      const headers = {
        'anthropic-version': config.version,
        ...call.headers,
        'content-type': call.contentType,
        'x-api-key': required(config.apiKey, config.name),
      };
      const path = `${prefix}/v1/messages${call.format === 'anthropic-count' ? '/count_tokens' : ''}`;
      return await http.send({ origin, path, method: 'POST', headers, body: call.body }, signal);
    },
  };
};
