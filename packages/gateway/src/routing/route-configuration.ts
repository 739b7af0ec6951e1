import { z } from 'zod';
import { modelName, providerName } from '../providers/provider-configuration.ts';

/** How the order of the targets of one priority is chosen; a lower priority number always comes first. */
export const routeStrategy = z.enum(['priority', 'weight', 'latency', 'cost']);

export const targetConfiguration = z.strictObject({
  provider: providerName,
  model: modelName,
  priority: z.number().int().min(0).max(100).default(0),
  /** Share of calls among the targets of the same priority, for the strategy `weight`; 0 is only for failover. */
  weight: z.number().min(0).max(1_000_000).default(1),
});

const targets = z.array(targetConfiguration).min(1).max(8);

/** One arm of an A/B split; its name is in the ledger. */
const variant = z.strictObject({
  name: providerName,
  weight: z.number().min(0).max(1_000_000).default(1),
  targets,
});

const ttlSeconds = z.number().int().min(1).max(2_592_000);

/** What a route says of caching; `CachePolicy` of the caches as a document. */
const cachePolicy = z.strictObject({
  exactTtlSeconds: ttlSeconds.nullable().default(null),
  semantic: z
    .strictObject({
      embeddingModel: modelName,
      threshold: z.number().min(0).max(1).default(0.95),
      ttlSeconds: ttlSeconds.default(3_600),
    })
    .nullable()
    .default(null),
});

const fields = {
  /** What callers give as `model`. */
  name: modelName,
  strategy: routeStrategy.default('priority'),
  /** Calls of one conversation go to the same target while it is well; for the strategies `priority` and `weight`. */
  sticky: z.boolean().default(false),
  targets: targets.optional(),
  /** Instead of `targets`: each call belongs to one of these by weight, with `sticky` each conversation. */
  variants: z.array(variant).min(2).max(8).optional(),
  /** How often all targets are tried again after the first round. */
  retries: z.number().int().min(0).max(5).default(1),
  /** Milliseconds until the first content of an answer, all tries and waits included. */
  deadlineMs: z.number().int().min(1).max(3_600_000).default(600_000),
  cache: cachePolicy.optional(),
};

const namesTwice = (names: readonly string[]): boolean => new Set(names).size !== names.length;

export const modelRouteConfiguration = z
  .strictObject(fields)
  .refine((r) => (r.targets === undefined) !== (r.variants === undefined), 'give either targets or variants')
  .refine(
    (r) => !r.sticky || r.strategy === 'priority' || r.strategy === 'weight',
    'sticky goes with priority or weight',
  )
  .refine((r) => !namesTwice(r.variants?.map((v) => v.name) ?? []), 'two variants have one name');

export type TargetConfiguration = z.output<typeof targetConfiguration>;
export type ModelRouteConfiguration = z.output<typeof modelRouteConfiguration>;
export type RouteStrategy = z.output<typeof routeStrategy>;
