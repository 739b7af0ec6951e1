import type { WireFormat } from '../doors/endpoint.ts';
import { required } from './credentials.ts';
import type { HttpClient } from './http-client.ts';
import { openAiPath } from './openai-provider.ts';
import { placeOf } from './place.ts';
import type { Provider } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';

type Azure = Extract<ProviderConfiguration, { kind: 'azure' }>;

const other = new Set<WireFormat>(['openai-chat', 'openai-embeddings', 'openai-images', 'openai-audio']);

/**
 * Azure OpenAI. A model name is the name of a deployment. With an API version the path names the deployment; without,
 * the body does, as at OpenAI, and the responses API is there, too.
 */
export const azureProvider = (config: Azure, http: HttpClient): Provider => {
  const { origin, prefix } = placeOf(config.baseUrl);
  const { apiVersion } = config;
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: config.prices ?? 'azure',
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    formatFor(_endpoint, format) {
      if (other.has(format)) return format;
      if (format === 'openai-responses') return apiVersion === undefined ? format : 'openai-chat';
      return format === 'anthropic' || format === 'gemini' ? 'openai-chat' : null;
    },
    async send(call, signal) {
      const headers = {
        ...call.headers,
        'content-type': call.contentType,
        'api-key': required(config.apiKey, config.name),
      };
      const path =
        apiVersion === undefined
          ? `${prefix}/openai/v1${openAiPath(call)}`
          : `${prefix}/openai/deployments/${encodeURIComponent(call.model)}${openAiPath(call)}?api-version=${apiVersion}`;
      return await http.send({ origin, path, method: 'POST', headers, body: call.body }, signal);
    },
  };
};
