import { z } from 'zod';
import { rateNames, unitNames } from './price-table.ts';

/**
 * The form of a table of prices: `packages/gateway/prices/table.json` is the one that comes with a release, and a newer
 * one can be loaded instead of it.
 */

const date = z.string().regex(/^\d{4}-\d{2}-\d{2}$/);
const text = z.string().min(1).max(256);
/** A thousand dollars for a token is more than anything costs. */
const microUsd = z.number().int().min(0).max(1_000_000_000_000_000);

export interface Match {
  readonly equals?: string | undefined;
  readonly starts_with?: string | undefined;
  readonly ends_with?: string | undefined;
  readonly contains?: string | undefined;
  readonly regex?: string | undefined;
  readonly or?: readonly Match[] | undefined;
  readonly and?: readonly Match[] | undefined;
}

const isRegex = (source: string): boolean => {
  try {
    new RegExp(source, 'i');
    return true;
  } catch {
    return false;
  }
};

const match: z.ZodType<Match> = z.lazy(() =>
  z
    .strictObject({
      equals: text.optional(),
      starts_with: text.optional(),
      ends_with: text.optional(),
      contains: text.optional(),
      regex: text.refine(isRegex, 'not a regular expression').optional(),
      or: z.array(match).min(1).max(1_000).optional(),
      and: z.array(match).min(1).max(1_000).optional(),
    })
    .refine((m) => Object.keys(m).length === 1, 'exactly one condition'),
);

/** A rate: whole micro-dollars for a million tokens, or such a rate with others for longer prompts. */
export const rate = z.union([
  microUsd,
  z.strictObject({
    base: microUsd,
    tiers: z
      .array(z.strictObject({ above: z.number().int().min(0), price: microUsd }))
      .min(1)
      .max(10),
  }),
]);

export const rates = z.partialRecord(z.enum(rateNames), rate);
export const units = z.partialRecord(z.enum(unitNames), microUsd);

const datedPrice = z.strictObject({
  /** In force from that day on; absent: always was. */
  from: date.optional(),
  /** Only at that time of each day, UTC, such as `16:30:00` to `00:30:00`. */
  daily: z.strictObject({ from: z.string().max(16), to: z.string().max(16) }).optional(),
  rates,
  units: units.optional(),
});

const pricedModel = z.strictObject({
  id: text,
  match,
  contextTokens: z.number().int().min(1).optional(),
  /** The last one that is in force holds. */
  prices: z.array(datedPrice).min(1).max(100),
});

export const tableFile = z.strictObject({
  /** When these prices were compared with what providers say. */
  date,
  source: text,
  providers: z.record(
    z.string().min(1).max(64),
    z.strictObject({
      /** Providers whose models this one sells too. */
      fallbacks: z.array(text).max(20).optional(),
      models: z.array(pricedModel).max(10_000),
    }),
  ),
});

export type TableFile = z.output<typeof tableFile>;
export type PricedModel = z.output<typeof pricedModel>;
export type DatedPrice = z.output<typeof datedPrice>;
export type RateText = z.output<typeof rate>;
