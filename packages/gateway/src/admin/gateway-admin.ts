import type {
  BudgetUse,
  GatewayBudget,
  GatewayPrice,
  GatewayProvider,
  ModelRoute,
  TargetHealth,
} from '@holdfast/contract';
import { audit, type Principal } from '@holdfast/identity';
import type { Budget, BudgetInput } from '../budgets/budget.ts';
import { type BudgetChange, BudgetStore } from '../budgets/budget-store.ts';
import type { Gateway } from '../gateway.ts';
import { type OverrideInput, OverrideStore, type PriceOverride } from '../prices/override-store.ts';
import type { Provider } from '../providers/provider.ts';
import type { ListedProvider } from '../providers/provider-store.ts';
import { type ModelRouteConfiguration, modelRouteConfiguration } from '../routing/route-configuration.ts';
import { type ImportRequest, type ImportResult, importConfiguration } from './configuration-import.ts';
import { checkProvider, invalidDocument } from './provider-document.ts';
import { subjectIdOf } from './subject.ts';

const viewProvider = ({ provider, hasSecrets, updatedAt }: ListedProvider): GatewayProvider => ({
  ...provider,
  origin: 'workspace',
  baseUrl: provider.baseUrl ?? null,
  models: provider.models === undefined ? null : [...provider.models],
  hasSecrets,
  updatedAt: updatedAt.toISOString(),
});

/** Of the server's own providers only what a caller needs to use them: their addresses and keys are the operator's. */
const viewServerProvider = ({ name, kind, models, timeoutMs }: Provider): GatewayProvider => ({
  ...{ name, kind, timeoutMs, origin: 'server', baseUrl: null, hasSecrets: false, updatedAt: null },
  models: models === null ? null : [...models],
});

const viewRoute = (
  { targets, variants, ...route }: ModelRouteConfiguration,
  origin: 'workspace' | 'server',
  updatedAt: string | null,
): ModelRoute => ({
  ...route,
  ...(targets === undefined ? {} : { targets }),
  ...(variants === undefined ? {} : { variants }),
  origin,
  updatedAt,
});

const viewBudget = (budget: Budget): GatewayBudget => ({
  ...{ id: budget.id, unit: budget.unit, scope: budget.scope, subjectId: budget.subjectId, endpoint: budget.endpoint },
  ...{ period: budget.period, timeZone: budget.timeZone, amount: budget.amount, hard: budget.hard },
  thresholds: [...budget.thresholds],
});

const viewPrice = ({ effectiveFrom, rates, units, ...price }: PriceOverride): GatewayPrice => ({
  ...price,
  effectiveFrom: effectiveFrom.toISOString(),
  rates: { ...rates },
  units: Object.fromEntries(Object.entries(units).filter(([, each]) => each !== undefined)),
});

/** Workspace entries hide the server's of the same name. */
const over = <T extends { readonly name: string }>(own: readonly T[], server: readonly T[]): T[] =>
  [...own, ...server.filter(({ name }) => own.every((one) => one.name !== name))].sort((a, b) =>
    a.name < b.name ? -1 : 1,
  );

const mostUses = 10_000;

/** What the admin API does with providers, model routes, budgets and the cache; answers are the contract's documents. */
export class GatewayAdmin {
  readonly #gateway: Gateway;
  readonly #budgets: BudgetStore;
  readonly #prices: OverrideStore;

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
    this.#budgets = new BudgetStore(gateway.parts.database, gateway.parts.clock);
    this.#prices = new OverrideStore(gateway.parts.database, gateway.parts.clock);
  }

  async listProviders(by: Principal): Promise<GatewayProvider[]> {
    const own = (await this.#gateway.store.listProviders(by.workspaceId)).map(viewProvider);
    const { providers } = this.#gateway.parts.catalogue.server;
    return over(
      own,
      providers.map(({ provider }) => viewServerProvider(provider)),
    );
  }

  /** Errors: `request.invalid`, `quota.exceeded`. */
  async putProvider(by: Principal, document: Readonly<Record<string, unknown>>): Promise<GatewayProvider> {
    const { provider, secrets } = checkProvider(document);
    const listed = await this.#gateway.store.putProvider(by, provider, secrets);
    this.#changed(by, 'provider.changed', provider.name, { kind: provider.kind, newSecrets: secrets !== null });
    return viewProvider(listed);
  }

  async removeProvider(by: Principal, name: string): Promise<void> {
    await this.#gateway.store.removeProvider(by, name);
    this.#changed(by, 'provider.changed', name, { removed: true });
  }

  async listRoutes(by: Principal): Promise<ModelRoute[]> {
    const own = await this.#gateway.store.listRoutes(by.workspaceId);
    const { routes } = this.#gateway.parts.catalogue.server;
    return over(
      own.map(({ route, updatedAt }) => viewRoute(route, 'workspace', updatedAt.toISOString())),
      routes.map((route) => viewRoute(route, 'server', null)),
    );
  }

  /** Errors: `request.invalid`, `quota.exceeded`. */
  async putRoute(by: Principal, document: Readonly<Record<string, unknown>>): Promise<ModelRoute> {
    const parsed = modelRouteConfiguration.safeParse(document);
    if (!parsed.success) throw invalidDocument('The model route', parsed.error);
    const { route, updatedAt } = await this.#gateway.store.putRoute(by, parsed.data);
    // What the route answered before may come from other models.
    await this.#gateway.parts.cache.purge(by.workspaceId, route.name);
    this.#changed(by, 'route.changed', route.name, {});
    return viewRoute(route, 'workspace', updatedAt.toISOString());
  }

  async removeRoute(by: Principal, name: string): Promise<void> {
    await this.#gateway.store.removeRoute(by, name);
    await this.#gateway.parts.cache.purge(by.workspaceId, name);
    this.#changed(by, 'route.changed', name, { removed: true });
  }

  async health(by: Principal): Promise<TargetHealth[]> {
    return [...(await this.#gateway.health(by.workspaceId))];
  }

  async import(by: Principal, request: ImportRequest): Promise<ImportResult> {
    const result = await importConfiguration(this.#gateway.store, by, request);
    if (request.dryRun) return result;
    for (const name of result.providers) this.#changed(by, 'provider.changed', name, { imported: true });
    for (const name of result.routes) this.#changed(by, 'route.changed', name, { imported: true });
    return result;
  }

  /** Errors: `request.invalid`, `resource.conflict`, `quota.exceeded`. */
  async createBudget(by: Principal, input: BudgetInput): Promise<GatewayBudget> {
    const { scope, subjectId } = input;
    const { database } = this.#gateway.parts;
    const resolved =
      subjectId === null || subjectId === undefined || scope === 'workspace'
        ? (subjectId ?? null)
        : await subjectIdOf(database, by.workspaceId, scope, subjectId);
    const budget = await this.#budgets.create(by.workspaceId, { ...input, subjectId: resolved });
    await this.#budgetChanged(by, 'budget.create', budget);
    return viewBudget(budget);
  }

  /** In the order they were made, each with its open windows; the cursor is the last id of a page. */
  async listBudgets(
    by: Principal,
    page: { readonly limit: number; readonly cursor: string | undefined },
  ): Promise<{ items: (GatewayBudget & { uses: BudgetUse[] })[]; cursor: string | null }> {
    const limit = page.limit + 1;
    const { cursor } = page;
    const found = await this.#budgets.list(by.workspaceId, cursor === undefined ? { limit } : { limit, after: cursor });
    const uses = new Map<string, BudgetUse[]>();
    for (const { budgetId, startsAt, endsAt, ...use } of await this.#budgets.uses(by.workspaceId, {
      limit: mostUses,
    })) {
      const seen = { ...use, startsAt: startsAt.toISOString(), endsAt: endsAt?.toISOString() ?? null };
      uses.set(budgetId, [...(uses.get(budgetId) ?? []), seen]);
    }
    const items = found
      .slice(0, page.limit)
      .map((budget) => ({ ...viewBudget(budget), uses: (uses.get(budget.id) ?? []).slice(0, 100) }));
    return { items, cursor: found.length > page.limit ? (items.at(-1)?.id ?? null) : null };
  }

  /** Errors: `resource.not_found`, `request.invalid`. */
  async changeBudget(by: Principal, id: string, change: BudgetChange): Promise<GatewayBudget> {
    const budget = await this.#budgets.change(by.workspaceId, id, change);
    await this.#budgetChanged(by, 'budget.change', budget);
    return viewBudget(budget);
  }

  /** Errors: `resource.not_found`. */
  async removeBudget(by: Principal, id: string): Promise<void> {
    const budget = await this.#budgets.get(by.workspaceId, id);
    await this.#budgets.remove(by.workspaceId, id);
    await this.#budgetChanged(by, 'budget.remove', budget);
  }

  /** Errors: `request.invalid`, `resource.conflict`, `quota.exceeded`. */
  async createPrice(by: Principal, input: OverrideInput): Promise<GatewayPrice> {
    const price = viewPrice(await this.#prices.create(by.workspaceId, input));
    await this.#audit(by, 'price.create', price.id, price);
    return price;
  }

  async listPrices(by: Principal): Promise<GatewayPrice[]> {
    return (await this.#prices.list(by.workspaceId)).map(viewPrice);
  }

  /** Errors: `resource.not_found`. */
  async removePrice(by: Principal, id: string): Promise<void> {
    await this.#prices.remove(by.workspaceId, id);
    await this.#audit(by, 'price.remove', id, {});
  }

  /** The number of secrets that were sealed anew. The caller sees to it that only the operator gets here. */
  async rotateMasterKey(by: Principal): Promise<number> {
    const providers = await this.#gateway.store.rotateMasterKey();
    const webhooks = await this.#gateway.parts.webhooks.reseal();
    await this.#audit(by, 'master_key.rotate', 'master-key', { providers, webhooks });
    return providers + webhooks;
  }

  cacheStats(by: Principal): ReturnType<Gateway['parts']['cache']['stats']> {
    return this.#gateway.parts.cache.stats(by.workspaceId);
  }

  purgeCache(by: Principal, model: string | null): Promise<number> {
    return this.#gateway.parts.cache.purge(by.workspaceId, model);
  }

  async #budgetChanged(
    by: Principal,
    action: 'budget.create' | 'budget.change' | 'budget.remove',
    budget: Budget,
  ): Promise<void> {
    const { id, ...facts } = viewBudget(budget);
    await this.#audit(by, action, id, facts);
    this.#changed(by, 'budget.changed', id, { ...facts, removed: action === 'budget.remove' });
  }

  async #audit(
    by: Principal,
    action: string,
    target: string,
    details: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { database, clock } = this.#gateway.parts;
    await audit(database.kysely, new Date(clock.now()), { ...by, action, target, details });
  }

  #changed(
    { workspaceId, keyId }: Principal,
    type: 'provider.changed' | 'route.changed' | 'budget.changed',
    subject: string,
    facts: Readonly<Record<string, unknown>>,
  ): void {
    this.#gateway.parts.events.publish({ workspaceId, type, subject, data: { ...facts, by: keyId }, once: null });
  }
}
