export {
  type GatewayConfiguration,
  gatewayConfiguration,
  type ModelRouteConfiguration,
  modelRouteConfiguration,
  type ProviderConfiguration,
  providerConfiguration,
} from './configuration.ts';
export { type Gateway, type GatewayLimits, type GatewayOptions, openGateway } from './gateway.ts';
export { openAiErrorResponse } from './openai-error.ts';
export { type Recording, recording } from './recording.ts';
