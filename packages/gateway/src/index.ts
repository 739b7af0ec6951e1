export { GatewayAdmin } from './admin/gateway-admin.ts';
export { GatewayControl } from './admin/gateway-control.ts';
export { type GatewayConfiguration, gatewayConfiguration } from './configuration.ts';
export type { DoorName } from './doors/door.ts';
export type { DoorFamily } from './doors/endpoint.ts';
export type { Gateway, GatewayLimits, GatewayParts, TargetReport } from './gateway.ts';
export type { GatewayExchange } from './gateway-exchange.ts';
export { type GatewayOptions, openGateway } from './open-gateway.ts';
export { type ErrorReply, errorReply } from './pipeline/error-reply.ts';
export {
  type ProviderConfiguration,
  type ProviderSecrets,
  providerConfiguration,
  providerSecrets,
  type StoredProvider,
  storedProvider,
} from './providers/provider-configuration.ts';
export type { ListedProvider, ListedRoute, ProviderStore } from './providers/provider-store.ts';
export { type Recording, recording } from './providers/recording.ts';
export { type ModelRouteConfiguration, modelRouteConfiguration } from './routing/route-configuration.ts';
export { noCaps } from './runaway/run-caps.ts';
export { MasterKeys } from './secrets/master-keys.ts';
