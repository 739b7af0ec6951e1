import type { AttemptRecord, AttemptStart, Scopes } from './ledger.ts';

/** Longest texts of a row; what is longer is cut, since a caller's or a provider's name must not cost us the record. */
const maxText = 256;
const maxTags = 16;
const maxTagName = 64;

/** PostgreSQL's JSON takes no NUL and no half surrogate pairs. */
const clean = (text: string, max = maxText): string => {
  const short = text.length > max ? text.slice(0, max) : text;
  if (short.isWellFormed() && !short.includes('\0')) return short;
  return short.toWellFormed().replaceAll('\0', '�');
};

const cleanOrNull = (text: string | null): string | null => (text === null ? null : clean(text));

const cleanTags = (tags: Readonly<Record<string, string>>): Record<string, string> => {
  const kept: Record<string, string> = {};
  let count = 0;
  for (const name in tags) {
    const value = tags[name];
    if (value === undefined) continue;
    if (count === maxTags) break;
    kept[clean(name, maxTagName)] = clean(value);
    count += 1;
  }
  return kept;
};

/** Counts of providers are what they are: one that is no count at all is left out rather than refused with its row. */
const count = (value: number | undefined): number | null =>
  value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : null;

const quantity = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) && value >= 0 ? value : null;

const startColumns = (start: AttemptStart, scopes: Scopes, admittedAtMs: number) => ({
  id: start.id,
  call_id: start.callId,
  attempt: start.attempt,
  workspace_id: scopes.workspaceId,
  team_id: cleanOrNull(scopes.teamId),
  user_id: cleanOrNull(scopes.userId),
  key_id: clean(scopes.keyId),
  agent_id: cleanOrNull(scopes.agentId),
  run_id: cleanOrNull(scopes.runId),
  step: cleanOrNull(start.step),
  endpoint: clean(scopes.endpoint),
  requested_model: clean(start.requestedModel),
  route: cleanOrNull(start.route),
  variant: cleanOrNull(start.variant),
  provider: clean(start.provider),
  provider_model: clean(start.providerModel),
  price_version: cleanOrNull(start.priceVersion),
  recorded: start.recorded,
  streamed: start.streamed,
  trace_id: clean(start.traceId),
  span_id: clean(start.spanId),
  tags: cleanTags(start.tags),
  started_at: new Date(start.startedAtMs).toISOString(),
  admitted_at: new Date(admittedAtMs).toISOString(),
});

/** One row of `model_attempts` as JSON; columns that are left out are null. */
export const attemptJson = (record: AttemptRecord, admittedAtMs: number): string => {
  const { usage, other } = record;
  return JSON.stringify({
    ...startColumns(record, record.scopes, admittedAtMs),
    cache: record.cache,
    status: record.status,
    error_class: cleanOrNull(record.errorClass),
    response_model: cleanOrNull(record.responseModel),
    usage_source: record.usageSource,
    input_tokens: count(usage?.inputTokens),
    cache_read_tokens: count(usage?.cacheReadTokens),
    cache_write_5m_tokens: count(usage?.cacheWrite5mTokens),
    cache_write_1h_tokens: count(usage?.cacheWrite1hTokens),
    output_tokens: count(usage?.outputTokens),
    reasoning_tokens: count(usage?.reasoningTokens),
    images: count(other.images),
    audio_seconds: quantity(other.audioSeconds),
    characters: count(other.characters),
    cost_micro_usd: record.costMicroUsd === null ? null : Number(record.costMicroUsd),
    latency_ms: quantity(record.latencyMs) ?? 0,
    first_token_ms: record.firstTokenMs === null ? null : quantity(record.firstTokenMs),
  });
};

export interface AbandonedAttempt {
  readonly start: AttemptStart;
  readonly scopes: Scopes;
  readonly inputTokens: number;
  /** Null when the model has no price. */
  readonly inputMicroUsd: number | null;
}

/** The row of a call that nobody lived to settle: its input is charged, and what came back is not known. */
export const abandonedJson = (attempt: AbandonedAttempt, admittedAtMs: number, latencyMs = 0): string =>
  JSON.stringify({
    ...startColumns(attempt.start, attempt.scopes, admittedAtMs),
    error_class: 'abandoned',
    usage_source: 'estimated',
    input_tokens: attempt.inputTokens,
    cache_read_tokens: 0,
    cache_write_5m_tokens: 0,
    cache_write_1h_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    cost_micro_usd: attempt.inputMicroUsd,
    latency_ms: latencyMs,
  });
