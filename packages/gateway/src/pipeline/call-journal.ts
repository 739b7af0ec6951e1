import { newId, newSpanId, newTraceId, type SpanAttribute, type SpanRecord } from '@holdfast/core';
import type { Usage } from '../formats/format.ts';
import {
  type AttemptRecord,
  type AttemptStart,
  attemptId,
  type CacheSource,
  type UsageSource,
} from '../ledger/ledger.ts';
import type { OtherUsage } from '../prices/price-table.ts';
import type { RoutePlan } from '../routing/route-plan.ts';
import type { Target } from '../routing/target.ts';
import type { ErrorClass } from './attempt-failure.ts';
import type { CallCost } from './call-cost.ts';
import type { CallInput } from './call-input.ts';
import type { CallServices } from './call-services.ts';
import type { CallerFacts } from './caller-headers.ts';

/** How one attempt ended. */
export interface AttemptOutcome {
  /** HTTP status of the provider, null when it sent none. */
  readonly status: number | null;
  readonly errorClass: ErrorClass | null;
  readonly message: string | null;
  readonly usage: Usage | null;
  readonly usageSource: UsageSource;
  readonly other: OtherUsage;
  /** The model that the provider says answered. */
  readonly responseModel: string | null;
  /** `Clock.monotonic` of the first content; null when none came, or all at once. */
  readonly firstContentAt: number | null;
}

/** What was tried so far, as error details show it. */
export interface AttemptSummary {
  readonly attempt: number;
  readonly provider: string;
  readonly model: string;
  readonly status: number | null;
  readonly errorClass: ErrorClass | null;
}

const operationOf = (endpoint: string): string => {
  if (endpoint === 'embeddings' || endpoint === 'gemini.embed' || endpoint === 'gemini.batch_embed')
    return 'embeddings';
  if (endpoint.startsWith('images.') || endpoint.startsWith('audio.')) return endpoint;
  return endpoint === 'messages.count_tokens' ? 'count_tokens' : 'chat';
};

/** All input tokens of an answer, as spans and their sums know them. */
export const inputTokensOf = (usage: Usage): number =>
  usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;

/** Writes down one call: a record for each attempt, and spans. */
export class CallJournal {
  readonly callId: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly records: AttemptRecord[] = [];
  readonly summaries: AttemptSummary[] = [];
  readonly #services: CallServices;
  readonly #input: CallInput;
  readonly #caller: CallerFacts;
  readonly #plan: RoutePlan;
  readonly #cost: CallCost;
  readonly #startMs: number;
  readonly #startedAt: number;
  /** For the spans: why each attempt failed, in words. */
  readonly #messages: (string | null)[] = [];
  #attemptStartMs: number;
  #attemptStartedAt: number;
  #shownMicroUsd: number | null = null;

  constructor(services: CallServices, input: CallInput, caller: CallerFacts, plan: RoutePlan, cost: CallCost) {
    this.#services = services;
    this.#input = input;
    this.#caller = caller;
    this.#plan = plan;
    this.#cost = cost;
    this.callId = newId('mdl', services.clock);
    this.traceId = input.trace?.traceId ?? newTraceId();
    this.spanId = newSpanId();
    this.#startMs = services.clock.now();
    this.#startedAt = services.clock.monotonic();
    this.#attemptStartMs = this.#startMs;
    this.#attemptStartedAt = this.#startedAt;
  }

  attemptStarts(): void {
    this.#attemptStartMs = this.#services.clock.now();
    this.#attemptStartedAt = this.#services.clock.monotonic();
  }

  /** `Clock.monotonic` at which the attempt under way began. */
  get attemptStartedAt(): number {
    return this.#attemptStartedAt;
  }

  /** The next attempt, at this target, as it is known before it is made. */
  start(target: Target): AttemptStart {
    const attempt = this.records.length + 1;
    const { request } = this.#input;
    return {
      id: attemptId(this.callId, attempt),
      callId: this.callId,
      attempt,
      requestedModel: request.model,
      route: this.#plan.route,
      variant: this.#plan.variant,
      provider: target.provider.name,
      providerModel: target.model,
      recorded: target.provider.recorded,
      streamed: request.stream,
      step: this.#caller.step,
      tags: this.#caller.tags,
      traceId: this.traceId,
      spanId: this.spanId,
      priceVersion: this.#cost.priceOf(target)?.version ?? null,
      startedAtMs: this.#attemptStartMs,
    };
  }

  attemptEnded(target: Target, outcome: AttemptOutcome): AttemptRecord {
    const start = this.start(target);
    const { status, errorClass, usage, usageSource, other, responseModel, firstContentAt } = outcome;
    const { price, microUsd } = this.#cost.charge(target, responseModel, usage, other);
    const latencyMs = this.#services.clock.monotonic() - this.#attemptStartedAt;
    const record: AttemptRecord = {
      ...start,
      priceVersion: price?.version ?? null,
      scopes: this.#caller.scopes,
      cache: null,
      ...{ status, errorClass, responseModel, usage, usageSource, other },
      // Spans show what a recorded answer once cost; the ledger, that nothing was spent.
      costMicroUsd: target.provider.recorded && microUsd !== null ? 0n : microUsd,
      latencyMs,
      firstTokenMs: firstContentAt === null ? null : Math.max(0, firstContentAt - this.#attemptStartedAt),
    };
    this.records.push(record);
    const { attempt, provider, providerModel: model } = start;
    this.summaries.push({ attempt, provider, model, status, errorClass });
    if (microUsd !== null) this.#shownMicroUsd = (this.#shownMicroUsd ?? 0) + Number(microUsd);
    this.#messages.push(outcome.message ?? record.errorClass);
    this.#measure(record);
    if (errorClass !== null)
      this.#services.log.warn('a model call failed', { traceId: this.traceId, provider, attempt, status, errorClass });
    return record;
  }

  /** A record of an answer that no provider gave. */
  cached(source: CacheSource, providerModel: string, status: number): AttemptRecord {
    const { clock } = this.#services;
    const { request } = this.#input;
    return {
      ...{ id: attemptId(this.callId, 1), callId: this.callId, attempt: 1, requestedModel: request.model },
      ...{ route: this.#plan.route, variant: this.#plan.variant, provider: 'holdfast', providerModel },
      ...{ recorded: false, streamed: request.stream, step: this.#caller.step, tags: this.#caller.tags },
      ...{ traceId: this.traceId, spanId: this.spanId, priceVersion: null, startedAtMs: this.#startMs },
      ...{ scopes: this.#caller.scopes, cache: source, status, errorClass: null, responseModel: null },
      ...{ usage: null, usageSource: 'none', other: {}, costMicroUsd: 0n },
      ...{ latencyMs: clock.monotonic() - this.#startedAt, firstTokenMs: null },
    };
  }

  /** Emits the spans, once, after the last attempt: one for the call, and below it one for each of several attempts. */
  callEnded(): void {
    const record = this.records.at(-1);
    if (record === undefined) return;
    const { spans, clock } = this.#services;
    const firstTokenMs =
      record.firstTokenMs === null ? null : record.firstTokenMs + (record.startedAtMs - this.#startMs);
    const sum = (of: (usage: Usage) => number): number | null =>
      this.records.reduce<number | null>(
        (total, { usage }) => (usage === null ? total : (total ?? 0) + of(usage)),
        null,
      );
    const attributes = attributesOf(record, this.callId);
    attributes['holdfast.attempts'] = this.records.length;
    attributes['holdfast.first_token_ms'] = firstTokenMs;
    spans.emit({
      ...{ traceId: this.traceId, spanId: this.spanId, parentSpanId: this.#input.trace?.spanId ?? null },
      ...{ workspaceId: record.scopes.workspaceId, kind: 'model', attributes },
      name: `${operationOf(record.scopes.endpoint)} ${record.requestedModel}`,
      startMs: this.#startMs,
      endMs: this.#startMs + (clock.monotonic() - this.#startedAt),
      status: record.errorClass === null ? 'ok' : 'error',
      statusMessage: this.#messages.at(-1) ?? null,
      inputTokens: sum(inputTokensOf),
      outputTokens: sum((usage) => usage.outputTokens),
      costMicroUsd: this.#shownMicroUsd,
    });
    if (this.records.length > 1)
      for (const [i, one] of this.records.entries()) spans.emit(this.#attemptSpan(one, this.#messages[i] ?? null));
  }

  /** Tokens and cost are attributes here, since sums over a trace would count them twice. */
  #attemptSpan(record: AttemptRecord, statusMessage: string | null): SpanRecord {
    return {
      ...{ traceId: this.traceId, spanId: newSpanId(), parentSpanId: this.spanId },
      ...{ workspaceId: record.scopes.workspaceId, kind: 'other' },
      name: `attempt ${record.attempt} ${record.provider}/${record.providerModel}`,
      startMs: record.startedAtMs,
      endMs: record.startedAtMs + record.latencyMs,
      status: record.errorClass === null ? 'ok' : 'error',
      statusMessage,
      attributes: attributesOf(record, this.callId),
      ...{ inputTokens: null, outputTokens: null, costMicroUsd: null },
    };
  }

  #measure(record: AttemptRecord): void {
    const { scopes, route, provider, providerModel: model, errorClass, usage, latencyMs, firstTokenMs } = record;
    this.#services.metrics.attempt({
      workspaceId: scopes.workspaceId,
      endpoint: scopes.endpoint,
      ...{ route, provider, model, usage, latencyMs, firstTokenMs },
      outcome: errorClass ?? 'ok',
      costMicroUsd: record.costMicroUsd === null ? null : Number(record.costMicroUsd),
      ...{ keyId: scopes.keyId, agentId: scopes.agentId, runId: scopes.runId, traceId: record.traceId },
    });
  }
}

/** Names of the OpenTelemetry conventions for generative AI where there is one. */
const attributesOf = (record: AttemptRecord, callId: string): Record<string, SpanAttribute> => {
  const { usage, costMicroUsd } = record;
  return {
    'gen_ai.operation.name': operationOf(record.scopes.endpoint),
    'gen_ai.provider.name': record.provider,
    'gen_ai.request.model': record.providerModel,
    'gen_ai.response.model': record.responseModel,
    'gen_ai.usage.input_tokens': usage === null ? null : inputTokensOf(usage),
    'gen_ai.usage.output_tokens': usage?.outputTokens ?? null,
    'gen_ai.usage.cache_read.input_tokens': usage?.cacheReadTokens ?? null,
    'http.response.status_code': record.status,
    'error.type': record.errorClass,
    'holdfast.route': record.route,
    'holdfast.variant': record.variant,
    'holdfast.streamed': record.streamed,
    'holdfast.call': callId,
    'holdfast.cost_micro_usd': costMicroUsd === null ? null : Number(costMicroUsd),
    recorded: record.recorded,
  };
};
