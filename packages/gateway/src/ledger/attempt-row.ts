import type { AttemptRecord, AttemptStart, Scopes } from './ledger.ts';

/**
 * Rows of `model_attempts` as the database function `gateway_store_attempts` takes them: texts of columns in its order,
 * which end with the unit separator. An empty one is null, so a column that must have text gets a dash instead of none.
 */

/** Ends a row; see also `fieldEnd`. Neither, nor any other control character, is ever part of a text. */
export const rowEnd = '\x1e';
export const fieldEnd = '\x1f';

/** Longest texts of a row; what is longer is cut, since a caller's or a provider's name must not cost us the record. */
const maxText = 256;
const maxTags = 16;
const maxTagName = 64;

// The separators, and NUL, which PostgreSQL takes in no text.
const controls = /\p{Cc}/u;
const allControls = /\p{Cc}/gu;

const clean = (text: string, max = maxText): string => {
  const short = text.length > max ? text.slice(0, max) : text;
  if (short.isWellFormed() && !controls.test(short)) return short;
  return short.toWellFormed().replaceAll(allControls, ' ');
};

const optional = (text: string | null): string => (text === null ? '' : clean(text));
const required = (text: string): string => (text === '' ? '-' : clean(text));

const tagsJson = (tags: Readonly<Record<string, string>>): string => {
  const kept: Record<string, string> = {};
  let count = 0;
  for (const name in tags) {
    const value = tags[name];
    if (value === undefined) continue;
    if (count === maxTags) break;
    kept[clean(name, maxTagName)] = clean(value);
    count += 1;
  }
  return count === 0 ? '{}' : JSON.stringify(kept);
};

/** Counts of providers are what they are: one that is no count at all is left out rather than refused with its row. */
const count = (value: number | undefined): number | '' =>
  value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : '';

const quantity = (value: number | null | undefined): number | '' =>
  value !== undefined && value !== null && Number.isFinite(value) && value >= 0 ? value : '';

/** The columns from `id` to `admitted_at`. */
const startText = (start: AttemptStart, scopes: Scopes, admittedAtMs: number): string =>
  [
    start.id,
    start.callId,
    start.attempt,
    scopes.workspaceId,
    optional(scopes.teamId),
    optional(scopes.userId),
    required(scopes.keyId),
    optional(scopes.agentId),
    optional(scopes.runId),
    optional(start.step),
    required(scopes.endpoint),
    required(start.requestedModel),
    optional(start.route),
    optional(start.variant),
    required(start.provider),
    required(start.providerModel),
    optional(start.priceVersion),
    start.recorded,
    start.streamed,
    required(start.traceId),
    required(start.spanId),
    tagsJson(start.tags),
    start.startedAtMs,
    admittedAtMs,
  ].join(fieldEnd);

/** The row of a finished attempt. `admittedAtMs` decides in which windows of its budgets it counts. */
export const attemptRow = (record: AttemptRecord, admittedAtMs: number): string => {
  const { usage, other } = record;
  return [
    startText(record, record.scopes, admittedAtMs),
    record.cache,
    record.status,
    optional(record.errorClass),
    optional(record.responseModel),
    record.usageSource,
    count(usage?.inputTokens),
    count(usage?.cacheReadTokens),
    count(usage?.cacheWrite5mTokens),
    count(usage?.cacheWrite1hTokens),
    count(usage?.outputTokens),
    count(usage?.reasoningTokens),
    count(other.images),
    quantity(other.audioSeconds),
    count(other.characters),
    record.costMicroUsd,
    quantity(record.latencyMs) || 0,
    quantity(record.firstTokenMs),
  ].join(fieldEnd);
};

export interface AbandonedAttempt {
  readonly start: AttemptStart;
  readonly scopes: Scopes;
  readonly inputTokens: number;
  /** Null when the model has no price. */
  readonly inputMicroUsd: number | null;
}

/** The row of a call that nobody lived to settle: its input is charged, and what came back is not known. */
export const abandonedRow = (attempt: AbandonedAttempt, admittedAtMs: number, latencyMs = 0): string =>
  [
    startText(attempt.start, attempt.scopes, admittedAtMs),
    ...['', '', 'abandoned', '', 'estimated'],
    ...[attempt.inputTokens, 0, 0, 0, 0, 0],
    ...['', '', ''],
    attempt.inputMicroUsd,
    latencyMs,
    '',
  ].join(fieldEnd);
