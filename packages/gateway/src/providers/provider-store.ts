import type { Principal } from '@holdfast/identity';
import type { ModelRouteConfiguration } from '../routing/route-configuration.ts';
import type { ProviderSecrets, StoredProvider } from './provider-configuration.ts';

/** A provider of a workspace as it may be shown: that it has secrets, never which. */
export interface ListedProvider {
  readonly id: string;
  readonly provider: StoredProvider;
  readonly hasSecrets: boolean;
  readonly secretsSince: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface ListedRoute {
  readonly id: string;
  readonly route: ModelRouteConfiguration;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/**
 * Providers and model routes that workspaces keep in the database. Every change is audited and reaches the gateways of
 * all processes at once. Errors: `resource.not_found`, `quota.exceeded`, `resource.conflict` for a provider that routes name.
 */
export interface ProviderStore {
  listProviders(workspaceId: string): Promise<readonly ListedProvider[]>;
  /** Makes or replaces the provider of that name; without `secrets` those it has stay. */
  putProvider(by: Principal, provider: StoredProvider, secrets: ProviderSecrets | null): Promise<ListedProvider>;
  removeProvider(by: Principal, name: string): Promise<void>;
  listRoutes(workspaceId: string): Promise<readonly ListedRoute[]>;
  /** Errors also: `request.invalid` for a route to a provider that the workspace does not see. */
  putRoute(by: Principal, route: ModelRouteConfiguration): Promise<ListedRoute>;
  removeRoute(by: Principal, name: string): Promise<void>;
  /** Seals all data keys anew with the current master key; resolves with how many there were. */
  rotateMasterKey(): Promise<number>;
}
