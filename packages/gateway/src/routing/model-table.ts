import type { ModelList } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Provider } from '../providers/provider.ts';
import type { ModelRouteConfiguration, RouteStrategy, TargetConfiguration } from './route-configuration.ts';
import type { Target } from './target.ts';
import type { HealthBook } from './target-health.ts';

/** A provider and whose it is: the server's, or a workspace's. */
export interface OwnedProvider {
  /** Empty for the server's own. */
  readonly owner: string;
  readonly provider: Provider;
}

/** One arm of a route; routes without a split have a single one without a name. */
export interface Variant {
  readonly name: string | null;
  readonly weight: number;
  readonly targets: readonly Target[];
}

/** What a model name stands for. */
export interface ResolvedModel {
  /** The model route of that name, when there is one. */
  readonly route: string | null;
  readonly strategy: RouteStrategy;
  readonly sticky: boolean;
  readonly variants: readonly Variant[];
  readonly retries: number;
  readonly deadlineMs: number;
  readonly cache: ModelRouteConfiguration['cache'];
}

const directDeadlineMs = 600_000;
/** Direct names come from callers: how many of them are kept. */
const maxKept = 2_000;

/** Knows which providers serve which model names, for one workspace at one time. */
export class ModelTable {
  readonly #providers: ReadonlyMap<string, OwnedProvider>;
  readonly #routes: ReadonlyMap<string, ModelRouteConfiguration>;
  readonly #health: HealthBook;
  readonly #resolved = new Map<string, ResolvedModel>();

  /** Later entries replace earlier ones of the same name. */
  constructor(providers: readonly OwnedProvider[], routes: readonly ModelRouteConfiguration[], health: HealthBook) {
    this.#providers = new Map(providers.map((owned) => [owned.provider.name, owned]));
    this.#routes = new Map(routes.map((r) => [r.name, r]));
    this.#health = health;
  }

  /**
   * A route of that name; else `provider/model`; else all providers that list the model; else those that take any.
   * Throws `gateway.model_not_found`.
   */
  resolve(model: string): ResolvedModel {
    const known = this.#resolved.get(model);
    if (known !== undefined) return known;
    const found = this.#find(model);
    if (this.#resolved.size >= maxKept) this.#resolved.clear();
    this.#resolved.set(model, found);
    return found;
  }

  /** What `/v1/models` answers: routes, then listed models; those of recordings under their provider's name. */
  list(): ModelList {
    const entries = new Map<string, string>();
    for (const route of this.#routes.keys()) entries.set(route, 'route');
    for (const { provider } of this.#providers.values())
      for (const model of provider.models ?? []) {
        const id = provider.recorded ? `${provider.name}/${model}` : model;
        if (!entries.has(id)) entries.set(id, provider.name);
      }
    const data = [...entries].map(([id, owner]) => ({ id, object: 'model' as const, created: 0, owned_by: owner }));
    return { object: 'list', data };
  }

  /** All targets that routes name, for reports. */
  routeTargets(): readonly { readonly route: string; readonly variant: string | null; readonly target: Target }[] {
    return [...this.#routes.keys()].flatMap((route) =>
      this.resolve(route).variants.flatMap(({ name, targets }) =>
        targets.map((target) => ({ route, variant: name, target })),
      ),
    );
  }

  #find(model: string): ResolvedModel {
    const route = this.#routes.get(model);
    if (route !== undefined) return this.#route(route);
    const slash = model.indexOf('/');
    const named = slash > 0 ? this.#providers.get(model.slice(0, slash)) : undefined;
    if (named !== undefined) {
      const inner = model.slice(slash + 1);
      const { models } = named.provider;
      if (models === null || models.includes(inner)) return direct([this.#target(named, inner)]);
    }
    const all = [...this.#providers.values()];
    const listing = all.filter(({ provider }) => !provider.recorded && provider.models?.includes(model));
    const open = all.filter(({ provider }) => provider.models === null);
    const serving = listing.length > 0 ? listing : open;
    if (serving.length === 0)
      throw new HoldfastError('gateway.model_not_found', `No route or provider serves the model ${model}.`, { model });
    return direct(serving.map((owned) => this.#target(owned, model)));
  }

  #route(route: ModelRouteConfiguration): ResolvedModel {
    const targetsOf = (targets: readonly TargetConfiguration[]): Target[] =>
      targets.map(({ provider, model, priority, weight }) => {
        const owned = this.#providers.get(provider);
        if (owned === undefined)
          throw new HoldfastError('gateway.model_not_found', `The route ${route.name} names no configured provider.`, {
            provider,
          });
        return this.#target(owned, model, priority, weight);
      });
    const variants = route.variants?.map((v) => ({ name: v.name, weight: v.weight, targets: targetsOf(v.targets) }));
    return {
      route: route.name,
      strategy: route.strategy,
      sticky: route.sticky,
      variants: variants ?? [{ name: null, weight: 1, targets: targetsOf(route.targets ?? []) }],
      retries: route.retries,
      deadlineMs: route.deadlineMs,
      cache: route.cache,
    };
  }

  #target({ owner, provider }: OwnedProvider, model: string, priority = 0, weight = 1): Target {
    const key = `${owner}/${provider.name}/${model}`;
    return { provider, model, key, priority, weight, health: this.#health.of(key) };
  }
}

/** For a model that is named without a route: each provider once, and retries are the caller's. */
const direct = (targets: readonly Target[]): ResolvedModel => ({
  route: null,
  strategy: 'priority',
  sticky: false,
  variants: [{ name: null, weight: 1, targets }],
  retries: 0,
  deadlineMs: directDeadlineMs,
  cache: undefined,
});
