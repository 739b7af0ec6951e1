import { z } from 'zod';
import { isTimeZone } from './window.ts';

/** What a budget counts: micro-dollars, or for the limits of a minute requests and tokens. */
export const budgetUnits = ['micro_usd', 'requests', 'tokens'] as const;
export type BudgetUnit = (typeof budgetUnits)[number];

export const budgetScopes = ['workspace', 'team', 'user', 'key', 'agent', 'run'] as const;
export type BudgetScope = (typeof budgetScopes)[number];

export const budgetPeriods = ['minute', 'hour', 'day', 'week', 'month', 'total'] as const;
export type BudgetPeriod = (typeof budgetPeriods)[number];

export interface Budget {
  readonly id: string;
  readonly workspaceId: string;
  readonly unit: BudgetUnit;
  readonly scope: BudgetScope;
  /** Whose; null: each of the scope has the whole amount for itself, unless it has such a budget of its own. */
  readonly subjectId: string | null;
  /** Only calls of that endpoint count; null: all. */
  readonly endpoint: string | null;
  readonly period: BudgetPeriod;
  /** IANA name; days, weeks (from Monday) and months begin at its midnight. */
  readonly timeZone: string;
  /** At least 1, in the unit. */
  readonly amount: number;
  /** A hard budget refuses calls; one that is not only counts and publishes events. */
  readonly hard: boolean;
  /** Percent of the amount at which an event is published, rising. */
  readonly thresholds: readonly number[];
  /** Rises with every change. */
  readonly revision: number;
}

const subject = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[^\p{Cc}]+$/u, 'no control characters');

/** What it takes to make a budget. */
export const budgetInput = z
  .strictObject({
    unit: z.enum(budgetUnits).default('micro_usd'),
    scope: z.enum(budgetScopes),
    subjectId: subject.nullable().default(null),
    endpoint: z
      .string()
      .min(1)
      .max(64)
      .regex(/^[a-z][a-z0-9._-]*$/)
      .nullable()
      .default(null),
    period: z.enum(budgetPeriods),
    timeZone: z.string().max(64).refine(isTimeZone, 'not an IANA time zone').default('UTC'),
    amount: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
    hard: z.boolean().default(true),
    thresholds: z
      .array(z.number().int().min(1).max(1_000))
      .max(10)
      .default([])
      .transform((all) => [...new Set(all)].sort((a, b) => a - b)),
  })
  .refine((b) => b.scope !== 'workspace' || b.subjectId === null, 'a budget of the workspace has no subject');
export type BudgetInput = z.input<typeof budgetInput>;
