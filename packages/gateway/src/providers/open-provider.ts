import type { Clock } from '@holdfast/core';
import { anthropicProvider } from './anthropic-provider.ts';
import { azureProvider } from './azure-provider.ts';
import { bedrockProvider } from './bedrock-provider.ts';
import { geminiProvider } from './gemini-provider.ts';
import type { HttpClient } from './http-client.ts';
import { compatibleProvider, openAiProvider } from './openai-provider.ts';
import type { Provider } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';
import { recordedProvider } from './recorded-provider.ts';

type Reached = Exclude<ProviderConfiguration, { kind: 'recorded' }>;

/** A provider that is reached over HTTP. */
export const reachedProvider = (config: Reached, http: HttpClient, clock: Clock): Provider => {
  switch (config.kind) {
    case 'openai':
      return openAiProvider(config, http);
    case 'openai-compatible':
      return compatibleProvider(config, http);
    case 'anthropic':
      return anthropicProvider(config, http);
    case 'gemini':
      return geminiProvider(config, http);
    case 'azure':
      return azureProvider(config, http);
    case 'bedrock':
      return bedrockProvider(config, http, clock);
  }
};

/** Errors: `gateway.recording_invalid`. */
export const openProvider = async (config: ProviderConfiguration, http: HttpClient, clock: Clock): Promise<Provider> =>
  config.kind === 'recorded' ? await recordedProvider(config, clock) : reachedProvider(config, http, clock);
