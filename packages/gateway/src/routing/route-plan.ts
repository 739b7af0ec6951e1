import type { ResolvedModel, Variant } from './model-table.ts';
import type { Target } from './target.ts';
import { fractionOf, inOrder, type OrderFacts } from './target-order.ts';

/** What is to be done for one call. */
export interface RoutePlan {
  readonly route: string | null;
  readonly variant: string | null;
  /** In the order they are tried; those that are unwell are among them. */
  readonly targets: readonly Target[];
  readonly retries: number;
  /** Milliseconds until the first content. */
  readonly deadlineMs: number;
}

const pick = (variants: readonly Variant[], fraction: number): Variant | undefined => {
  const sum = variants.reduce((total, { weight }) => total + weight, 0);
  let rest = fraction * sum;
  for (const variant of variants) {
    rest -= variant.weight;
    if (rest < 0) return variant;
  }
  return variants.at(-1);
};

/** The arm of a split is drawn for each call, or for each conversation of a sticky route. */
export const planRoute = (model: ResolvedModel, facts: OrderFacts, serves: (target: Target) => boolean): RoutePlan => {
  const { route, strategy, sticky, variants, retries, deadlineMs } = model;
  const fraction = (): number =>
    sticky && facts.conversation !== null ? fractionOf(`${facts.conversation}\0${route ?? ''}`) : facts.random();
  const variant = variants.length === 1 ? variants[0] : pick(variants, fraction());
  const targets = (variant?.targets ?? []).filter(serves);
  return {
    route,
    variant: variant?.name ?? null,
    targets: inOrder(targets, strategy, sticky, facts),
    retries,
    deadlineMs,
  };
};
