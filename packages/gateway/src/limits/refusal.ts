import { HoldfastError } from '@holdfast/core';
import type { Budget } from '../budgets/budget.ts';

/** What a call met that has nothing left for it. */
export interface Refusal {
  readonly budget: Budget;
  readonly subject: string;
  /** When the window ends, null for a budget in total; and now. Both in milliseconds since 1970. */
  readonly endMs: number | null;
  readonly nowMs: number;
  /** What the call needed, in the unit of the budget. */
  readonly needed: number;
}

/**
 * The error of a call that a budget or limit refuses. `retryAfterMs` is how long the window lasts; it is null for a budget
 * in total only, and when the call needs more than a whole window has: then waiting does not help.
 */
export const refusalError = ({ budget, subject, endMs, nowMs, needed }: Refusal): HoldfastError => {
  const retryAfterMs = endMs === null ? null : Math.max(Math.ceil(endMs - nowMs), 1);
  const details = {
    budgetId: budget.id,
    scope: budget.scope,
    subjectId: subject === '' ? null : subject,
    endpoint: budget.endpoint,
    period: budget.period,
    limit: budget.amount,
    needed,
  };
  const whose = `${budget.scope}${subject === '' ? '' : ` ${subject}`}`;
  if (budget.unit === 'micro_usd') {
    const message = `The budget of the ${whose} has nothing left for this call.`;
    const hopeless = needed > budget.amount;
    return new HoldfastError('budget.exhausted', message, { ...details, retryAfterMs: hopeless ? null : retryAfterMs });
  }
  const code = budget.unit === 'requests' ? 'limit.requests' : 'limit.tokens';
  const message = `The ${whose} may use ${budget.amount} ${budget.unit} a ${budget.period}.`;
  return new HoldfastError(code, message, { ...details, retryAfterMs: retryAfterMs ?? 1_000 });
};
