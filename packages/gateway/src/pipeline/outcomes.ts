import type { Usage } from '../formats/format.ts';
import type { UsageSource } from '../ledger/ledger.ts';
import type { OtherUsage } from '../prices/price-table.ts';
import type { AttemptFailure, ErrorClass } from './attempt-failure.ts';
import type { CallCost } from './call-cost.ts';
import type { AttemptOutcome } from './call-journal.ts';

/** What was read of an answer before it ended or broke off. */
export interface ReadSoFar {
  /** Of a head that said the call succeeded; null when none came. */
  readonly status: number | null;
  readonly usage: Usage | null;
  readonly responseModel: string | null;
  readonly firstContentAt: number | null;
  /** Events that carried content. */
  readonly contentEvents: number;
  readonly other: OtherUsage;
}

export const nothingRead: ReadSoFar = {
  status: null,
  usage: null,
  responseModel: null,
  firstContentAt: null,
  contentEvents: 0,
  other: {},
};

/** Ways to end that leave a provider at work which had got the whole request. */
const atWork = new Set<ErrorClass>(['timeout', 'client_disconnected', 'killed', 'gateway_closed']);

/** Failures in place of an answer, which nobody bills. */
const refused = new Set<ErrorClass>(['provider_error', 'rate_limited']);

const isBilled = ({ facts }: AttemptFailure, read: ReadSoFar): boolean => {
  if (read.usage !== null || read.contentEvents > 0) return true;
  if (read.status !== null) return !refused.has(facts.errorClass);
  return atWork.has(facts.errorClass) && facts.status === undefined;
};

/**
 * What a failed attempt used. Errors in place of an answer and connections that failed are not billed by anyone; an answer
 * that had begun, and a request that was taken and not answered in time, are, by what was told or else by the rule of
 * `CallCost.likelyUsage`.
 */
export const outcomeOfFailure = (failure: AttemptFailure, read: ReadSoFar, cost: CallCost): AttemptOutcome => {
  const { errorClass, error } = failure.facts;
  const billed = isBilled(failure, read);
  const { usage, source } = billed
    ? cost.likelyUsage(read.usage, read.contentEvents)
    : { usage: null, source: 'none' as const };
  return {
    status: failure.facts.status ?? read.status,
    errorClass,
    message: error.message,
    usage,
    usageSource: source,
    other: billed ? read.other : {},
    responseModel: read.responseModel,
    firstContentAt: read.firstContentAt,
  };
};

/** What a whole answer used. One without figures is estimated, so that it is not free. */
export const outcomeOfAnswer = (
  read: ReadSoFar & { readonly status: number },
  errorClass: ErrorClass | null,
  cost: CallCost,
): AttemptOutcome => {
  const { usage, source } = usageOfAnswer(read, errorClass, cost);
  const { status, other, responseModel, firstContentAt } = read;
  return { ...{ status, errorClass, usage, responseModel, firstContentAt }, other, message: null, usageSource: source };
};

const usageOfAnswer = (
  read: ReadSoFar,
  errorClass: ErrorClass | null,
  cost: CallCost,
): { readonly usage: Usage | null; readonly source: UsageSource } => {
  if (read.usage !== null) return { usage: read.usage, source: 'provider' };
  const countsOtherwise = Object.values(read.other).some((amount) => amount > 0);
  if (errorClass === 'rejected' || countsOtherwise) return { usage: null, source: 'none' };
  return cost.likelyUsage(null, read.contentEvents);
};
