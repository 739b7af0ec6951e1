import { createHash } from 'node:crypto';
import type { RouteStrategy } from './route-configuration.ts';
import type { Target } from './target.ts';

/** What an order may look at. */
export interface OrderFacts {
  /** Names the conversation for sticky routes; null: no conversation is known. */
  readonly conversation: string | null;
  /** Worst case of a call at this target in micro-dollars; null when it has no price. */
  readonly costOf: (target: Target) => bigint | null;
  /** From 0 up to 1. */
  readonly random: () => number;
}

/** From 0 to 1, both excluded; the same for the same text everywhere. */
export const fractionOf = (text: string): number => {
  const digest = createHash('sha1').update(text).digest();
  return (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48;
};

const sortedBy = (targets: readonly Target[], score: (target: Target) => number): Target[] =>
  targets
    .map((target) => ({ target, score: score(target) }))
    .sort((a, b) => (a.score === b.score ? 0 : a.score < b.score ? -1 : 1))
    .map(({ target }) => target);

/**
 * A random order in which each target comes first with its share of the weights: the least of -ln(u)/weight, as in
 * weighted rendezvous hashing. With `u` made of the conversation's name each conversation has an order of its own.
 */
const byWeight = (targets: readonly Target[], fraction: (target: Target) => number): Target[] =>
  sortedBy(targets, (target) =>
    target.weight === 0 ? Number.POSITIVE_INFINITY : -Math.log(fraction(target)) / target.weight,
  );

const compareCost = (a: bigint | null, b: bigint | null): number => {
  if (a === b) return 0;
  if (a === null) return 1;
  return b === null || a < b ? -1 : 1;
};

const orderOf = (targets: readonly Target[], strategy: RouteStrategy, sticky: boolean, facts: OrderFacts): Target[] => {
  if (sticky && facts.conversation !== null) {
    const { conversation } = facts;
    return byWeight(targets, (target) => fractionOf(`${conversation}\0${target.key}`));
  }
  switch (strategy) {
    case 'priority':
      return [...targets];
    case 'weight':
      return byWeight(targets, () => 1 - facts.random());
    case 'latency':
      // What was not measured lately comes first, once.
      return sortedBy(targets, (target) => target.health.freshLatencyMs ?? -1);
    case 'cost':
      return targets
        .map((target) => ({ target, cost: facts.costOf(target) }))
        .sort((a, b) => compareCost(a.cost, b.cost))
        .map(({ target }) => target);
  }
};

/** The order in which targets are tried: by priority, and within one priority by the strategy. */
export const inOrder = (
  targets: readonly Target[],
  strategy: RouteStrategy,
  sticky: boolean,
  facts: OrderFacts,
): readonly Target[] => {
  const [first] = targets;
  if (first === undefined || targets.length === 1) return targets;
  if (targets.every(({ priority }) => priority === first.priority)) return orderOf(targets, strategy, sticky, facts);
  const priorities = [...new Set(targets.map(({ priority }) => priority))].sort((a, b) => a - b);
  return priorities.flatMap((priority) =>
    orderOf(
      targets.filter((target) => target.priority === priority),
      strategy,
      sticky,
      facts,
    ),
  );
};
