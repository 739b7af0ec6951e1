import type { ModelList } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { ModelRouteConfiguration } from './configuration.ts';
import type { Upstream } from './upstream.ts';

export interface Target {
  readonly upstream: Upstream;
  /** The model under the provider's own name. */
  readonly model: string;
}

export interface Targets {
  /** The model route of that name, when there is one. */
  readonly route: string | null;
  /** In the order they are tried. */
  readonly targets: readonly Target[];
}

/** Knows which providers serve which model names. */
export class TargetTable {
  readonly #upstreams: ReadonlyMap<string, Upstream>;
  readonly #routes: ReadonlyMap<string, ModelRouteConfiguration>;

  constructor(upstreams: readonly Upstream[], routes: readonly ModelRouteConfiguration[]) {
    this.#upstreams = new Map(upstreams.map((u) => [u.name, u]));
    this.#routes = new Map(routes.map((r) => [r.name, r]));
  }

  /**
   * A route of that name; else `provider/model`; else all providers that list the model; else those that take any.
   * Throws `gateway.model_not_found`.
   */
  resolve(model: string): Targets {
    const route = this.#routes.get(model);
    if (route !== undefined) return { route: route.name, targets: this.#routeTargets(route) };
    const slash = model.indexOf('/');
    const named = slash > 0 ? this.#upstreams.get(model.slice(0, slash)) : undefined;
    if (named !== undefined) {
      const inner = model.slice(slash + 1);
      if (named.models === null || named.models.includes(inner))
        return { route: null, targets: [{ upstream: named, model: inner }] };
    }
    const all = [...this.#upstreams.values()];
    const listing = all.filter((u) => !u.recorded && u.models?.includes(model));
    const open = all.filter((u) => u.models === null);
    const upstreams = listing.length > 0 ? listing : open;
    if (upstreams.length === 0)
      throw new HoldfastError('gateway.model_not_found', `No route or provider serves the model ${model}.`, { model });
    return { route: null, targets: upstreams.map((upstream) => ({ upstream, model })) };
  }

  /** What `/v1/models` answers: routes, then listed models; those of recordings under their provider's name. */
  list(): ModelList {
    const entries = new Map<string, string>();
    for (const route of this.#routes.keys()) entries.set(route, 'route');
    for (const upstream of this.#upstreams.values())
      for (const model of upstream.models ?? []) {
        const id = upstream.recorded ? `${upstream.name}/${model}` : model;
        if (!entries.has(id)) entries.set(id, upstream.name);
      }
    const data = [...entries].map(([id, owner]) => ({ id, object: 'model' as const, created: 0, owned_by: owner }));
    return { object: 'list', data };
  }

  #routeTargets(route: ModelRouteConfiguration): Target[] {
    return route.targets.map(({ provider, model }) => {
      const upstream = this.#upstreams.get(provider);
      if (upstream === undefined)
        throw new HoldfastError('config.invalid', `The route ${route.name} names no configured provider.`, {
          provider,
        });
      return { upstream, model };
    });
  }
}
