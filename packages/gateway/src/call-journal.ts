import { type Clock, type Log, newId, newSpanId, newTraceId, parseTraceparent, type SpanSink } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { Principal } from '@holdfast/identity';
import type { AttemptFailure, ErrorClass } from './failure.ts';
import { costMicroUsd, type Usage } from './prices.ts';
import type { Target } from './targets.ts';

export interface JournalPorts {
  readonly database: Database;
  readonly spans: SpanSink;
  readonly clock: Clock;
  readonly log: Log;
}

export interface CallFacts {
  readonly caller: Principal;
  readonly endpoint: string;
  readonly requestedModel: string;
  readonly route: string | null;
  readonly streamed: boolean;
  /** The request's `traceparent` header. */
  readonly traceparent: string | null;
}

/** How one attempt ended. */
export interface AttemptOutcome {
  /** HTTP status of the provider, null when it sent none. */
  readonly status: number | null;
  readonly errorClass: ErrorClass | null;
  readonly failure: AttemptFailure | null;
  readonly usage: Usage | null;
  /** The model that the provider says answered. */
  readonly responseModel: string | null;
  readonly firstContentAt: number | null;
}

interface AttemptSummary {
  readonly attempt: number;
  readonly provider: string;
  readonly model: string;
  readonly status: number | null;
  readonly errorClass: ErrorClass | null;
}

/** Writes down one call: a ledger row for each attempt, and one span for the whole. */
export class CallJournal {
  readonly traceId: string;
  readonly spanId: string;
  readonly #parentSpanId: string | null;
  readonly #ports: JournalPorts;
  readonly #call: CallFacts;
  readonly #startMs: number;
  readonly #startedAt: number;
  readonly #attempts: AttemptSummary[] = [];
  #attemptStartMs: number;
  #attemptStartedAt: number;

  constructor(ports: JournalPorts, call: CallFacts) {
    const parent = call.traceparent === null ? null : parseTraceparent(call.traceparent);
    this.#ports = ports;
    this.#call = call;
    this.traceId = parent?.traceId ?? newTraceId();
    this.#parentSpanId = parent?.spanId ?? null;
    this.spanId = newSpanId();
    this.#startMs = ports.clock.now();
    this.#startedAt = ports.clock.monotonic();
    this.#attemptStartMs = this.#startMs;
    this.#attemptStartedAt = this.#startedAt;
  }

  /** What was tried so far, as error details show it. */
  get attempts(): readonly AttemptSummary[] {
    return this.#attempts;
  }

  attemptStarts(): void {
    this.#attemptStartMs = this.#ports.clock.now();
    this.#attemptStartedAt = this.#ports.clock.monotonic();
  }

  /** Resolves when the row is stored. A database that is away is logged: the answer was paid for and is delivered. */
  async attemptEnded(target: Target, outcome: AttemptOutcome): Promise<void> {
    const { caller, ...call } = this.#call;
    const { clock, database, log } = this.#ports;
    const attempt = this.#attempts.length + 1;
    const { status, errorClass, usage } = outcome;
    const provider = target.upstream.name;
    this.#attempts.push({ attempt, provider, model: target.model, status, errorClass });
    const row = {
      id: newId('mdl', clock),
      workspace_id: caller.workspaceId,
      key_id: caller.keyId,
      user_id: caller.userId,
      endpoint: call.endpoint,
      requested_model: call.requestedModel,
      route: call.route,
      provider,
      provider_model: target.model,
      recorded: target.upstream.recorded,
      attempt,
      streamed: call.streamed,
      status,
      error_class: errorClass,
      input_tokens: usage?.inputTokens ?? null,
      output_tokens: usage?.outputTokens ?? null,
      cached_tokens: usage?.cachedTokens ?? null,
      cost_micro_usd: costOf(target, outcome),
      latency_ms: clock.monotonic() - this.#attemptStartedAt,
      first_token_ms: outcome.firstContentAt === null ? null : outcome.firstContentAt - this.#attemptStartedAt,
      trace_id: this.traceId,
      span_id: this.spanId,
      started_at: new Date(this.#attemptStartMs),
    };
    try {
      await database.kysely.insertInto('model_calls').values(row).execute();
    } catch (error) {
      log.error('a model call could not be recorded', { ...row, error });
    }
    if (errorClass !== null)
      log.warn('a model call failed', { traceId: this.traceId, provider, attempt, status, errorClass });
  }

  /** Emits the span; once, after the last attempt. */
  callEnded(target: Target, outcome: AttemptOutcome): void {
    const { caller, requestedModel, route, streamed } = this.#call;
    const { usage, failure } = outcome;
    this.#ports.spans.emit({
      traceId: this.traceId,
      spanId: this.spanId,
      parentSpanId: this.#parentSpanId,
      workspaceId: caller.workspaceId,
      kind: 'model',
      name: `chat ${requestedModel}`,
      startMs: this.#startMs,
      endMs: this.#startMs + (this.#ports.clock.monotonic() - this.#startedAt),
      status: outcome.errorClass === null ? 'ok' : 'error',
      statusMessage: failure?.facts.error.message ?? (outcome.errorClass === null ? null : outcome.errorClass),
      // Names of the OpenTelemetry conventions for generative AI where there is one.
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': target.upstream.name,
        'gen_ai.request.model': target.model,
        'gen_ai.response.model': outcome.responseModel,
        'gen_ai.usage.cache_read.input_tokens': usage?.cachedTokens ?? null,
        'http.response.status_code': outcome.status,
        'error.type': outcome.errorClass,
        'holdfast.route': route,
        'holdfast.attempts': this.#attempts.length,
        'holdfast.streamed': streamed,
        'holdfast.first_token_ms': outcome.firstContentAt === null ? null : outcome.firstContentAt - this.#startedAt,
        recorded: target.upstream.recorded,
      },
      inputTokens: usage?.inputTokens ?? null,
      outputTokens: usage?.outputTokens ?? null,
      costMicroUsd: costOf(target, outcome),
    });
  }
}

/** By the model that answered, since a name such as `latest` or a recording's has no price. */
const costOf = (target: Target, { usage, responseModel }: AttemptOutcome): number | null => {
  if (usage === null) return null;
  return (responseModel === null ? null : costMicroUsd(responseModel, usage)) ?? costMicroUsd(target.model, usage);
};
