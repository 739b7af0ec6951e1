import type { ProviderConfiguration } from './configuration.ts';
import type { Upstream } from './upstream.ts';

type OpenAiConfiguration = Extract<ProviderConfiguration, { kind: 'openai-compatible' }>;

/** A provider reached over HTTP that speaks OpenAI's format. */
export const openAiUpstream = (config: OpenAiConfiguration, fetchWith: typeof fetch): Upstream => {
  const url = `${config.baseUrl.replace(/\/+$/, '')}/chat/completions`;
  return {
    name: config.name,
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    chat: ({ request, model, headers }, signal) => {
      const sent = new Headers(headers);
      if (config.apiKey !== undefined) sent.set('authorization', `Bearer ${config.apiKey.reveal()}`);
      return fetchWith(url, {
        method: 'POST',
        headers: sent,
        body: request.bodyFor(model),
        // A redirect would carry the prompt to a host that nobody configured.
        redirect: 'manual',
        signal,
      });
    },
  };
};
