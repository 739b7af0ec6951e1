import { gatewayAdminRoutes as routes } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type Gateway, GatewayAdmin } from '@holdfast/gateway';
import type { Identity } from '@holdfast/identity';
import { bindEmpty, bindJson } from '../http/bind.ts';

/** Members that were given: what is left out of a change stays as it is. */
const given = <T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } => {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  const kept: { [K in keyof T]?: Exclude<T[K], undefined> } = {};
  return Object.assign(kept, Object.fromEntries(entries));
};

/** Providers, model routes, budgets and the cache. */
export const bindGatewayAdmin = (gateway: Gateway, identity: Identity) => {
  const admin = new GatewayAdmin(gateway);
  return {
    listProviders: bindJson(routes.listProviders, async ({ principal }) => ({
      items: await admin.listProviders(principal),
    })),
    putProvider: bindJson(routes.putProvider, ({ principal, body }) => admin.putProvider(principal, body)),
    removeProvider: bindEmpty(routes.removeProvider, ({ principal, params }) =>
      admin.removeProvider(principal, params.name),
    ),
    listModelRoutes: bindJson(routes.listModelRoutes, async ({ principal }) => ({
      items: await admin.listRoutes(principal),
    })),
    putModelRoute: bindJson(routes.putModelRoute, ({ principal, body }) => admin.putRoute(principal, body)),
    removeModelRoute: bindEmpty(routes.removeModelRoute, ({ principal, params }) =>
      admin.removeRoute(principal, params.name),
    ),
    gatewayHealth: bindJson(routes.gatewayHealth, async ({ principal }) => ({ items: await admin.health(principal) })),
    importGateway: bindJson(routes.importGateway, ({ principal, body }) => admin.import(principal, body)),
    createBudget: bindJson(routes.createBudget, ({ principal, body }) => admin.createBudget(principal, body)),
    listBudgets: bindJson(routes.listBudgets, ({ principal, query }) =>
      admin.listBudgets(principal, { limit: query.limit, cursor: query.cursor }),
    ),
    changeBudget: bindJson(routes.changeBudget, ({ principal, params, body }) =>
      admin.changeBudget(principal, params.id, given(body)),
    ),
    removeBudget: bindEmpty(routes.removeBudget, ({ principal, params }) => admin.removeBudget(principal, params.id)),
    createPrice: bindJson(routes.createPrice, ({ principal, body }) => admin.createPrice(principal, body)),
    listPrices: bindJson(routes.listPrices, async ({ principal }) => ({ items: await admin.listPrices(principal) })),
    removePrice: bindEmpty(routes.removePrice, ({ principal, params }) => admin.removePrice(principal, params.id)),
    rotateMasterKey: bindJson(routes.rotateMasterKey, async ({ principal }) => {
      // The master key is the server's: whoever operates that owns its first workspace.
      const { name } = await identity.getWorkspace(principal, principal.workspaceId);
      if (name !== 'default') throw new HoldfastError('auth.forbidden', 'Only owners of the workspace "default" may.');
      return { resealed: await admin.rotateMasterKey(principal) };
    }),
    cacheStats: bindJson(routes.cacheStats, ({ principal }) => admin.cacheStats(principal)),
    purgeCache: bindJson(routes.purgeCache, async ({ principal, query }) => ({
      removed: await admin.purgeCache(principal, query.model ?? null),
    })),
  };
};
