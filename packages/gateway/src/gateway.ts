import { type Clock, HoldfastError, type Log, type SpanSink } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { mayUseModel, type Principal } from '@holdfast/identity';
import type { GatewaySpending } from './budgets/gateway-spending.ts';
import type { AnswerCache } from './caches/cache.ts';
import type { GatewayConfiguration } from './configuration.ts';
import { MemoryAnswer } from './doors/answer-sink.ts';
import { AnswerWriter } from './doors/answer-writer.ts';
import { type Door, type DoorName, doors } from './doors/door.ts';
import { modelListOf } from './doors/model-list.ts';
import { checkModel, parseModelRequest } from './doors/model-request.ts';
import { readRequestBody } from './doors/request-body.ts';
import { hopsOf, maxHops } from './doors/sent-headers.ts';
import type { EventLog } from './events/event-log.ts';
import type { Tail } from './events/tail.ts';
import type { WebhookSender } from './events/webhook-sender.ts';
import type { Webhooks } from './events/webhooks.ts';
import type { GatewayExchange } from './gateway-exchange.ts';
import type { Idempotency } from './idempotency/idempotency.ts';
import type { GatewayCounters } from './metrics/gateway-metrics.ts';
import type { CallInput } from './pipeline/call-input.ts';
import type { CallLimits, CallServices } from './pipeline/call-services.ts';
import { gatewayClosed } from './pipeline/disconnection.ts';
import { embeddingOf } from './pipeline/embedding.ts';
import { errorReply } from './pipeline/error-reply.ts';
import { ModelCall } from './pipeline/model-call.ts';
import type { Prices } from './prices/price-table.ts';
import type { DatabaseProviders } from './providers/database-providers.ts';
import type { HttpClient } from './providers/http-client.ts';
import type { ProviderStore } from './providers/provider-store.ts';
import type { Catalogue } from './routing/catalogue.ts';
import type { HealthReport } from './routing/target-health.ts';
import type { OpenRunaway } from './runaway/open-runaway.ts';
import type { MasterKeys } from './secrets/master-keys.ts';

export interface GatewayLimits extends CallLimits {
  readonly maxRequestBytes: number;
  /** Calls at the same time. */
  readonly maxCalls: number;
}

/** The opened parts, in which the admin API finds what it changes and shows. */
export interface GatewayParts {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly spans: SpanSink;
  readonly random: () => number;
  readonly masterKeys: MasterKeys;
  readonly http: HttpClient;
  readonly providers: DatabaseProviders;
  readonly catalogue: Catalogue;
  readonly prices: Prices;
  readonly spending: GatewaySpending;
  readonly cache: AnswerCache;
  readonly idempotency: Idempotency;
  readonly runaway: OpenRunaway;
  readonly metrics: GatewayCounters;
  readonly events: EventLog;
  readonly tail: Tail;
  readonly webhooks: Webhooks;
  readonly webhookSender: WebhookSender;
}

/** How one target of a route is. */
export interface TargetReport extends HealthReport {
  readonly route: string;
  readonly variant: string | null;
  readonly provider: string;
  readonly model: string;
}

export interface Gateway {
  /**
   * Answers a request that came by a door. Never rejects: errors are answers as the clients of that door expect them. The
   * call ends when the exchange's signal aborts.
   */
  handle(door: DoorName, exchange: GatewayExchange): Promise<void>;
  /** Answers with the models that the key may ask for. Never rejects. */
  listModels(exchange: GatewayExchange): Promise<void>;
  /** Takes over another configuration; calls under way go on as they began. Errors: `gateway.recording_invalid`. */
  reload(configuration: GatewayConfiguration): Promise<void>;
  /** The targets of all routes that a workspace sees. */
  health(workspaceId: string): Promise<readonly TargetReport[]>;
  readonly store: ProviderStore;
  readonly parts: GatewayParts;
  /** Calls under way. */
  readonly activeCalls: number;
  /** Ends all calls, and resolves when they are written down and everything is closed. */
  close(): Promise<void>;
}

/** The gateway over its opened parts; `closeParts` closes those. */
export class OpenGateway implements Gateway {
  readonly parts: GatewayParts;
  readonly #limits: GatewayLimits;
  readonly #services: CallServices;
  readonly #closeParts: () => Promise<void>;
  readonly #calls = new Map<ModelCall, Promise<void>>();
  /** Requests that are still being read count, too: they hold memory. */
  #admitted = 0;
  #closed = false;

  constructor(parts: GatewayParts, limits: GatewayLimits, closeParts: () => Promise<void>) {
    this.parts = parts;
    this.#limits = limits;
    this.#closeParts = closeParts;
    const { clock, log, random, spans, spending, cache, idempotency, runaway, metrics, events } = parts;
    this.#services = {
      ...{ clock, log, random, spans, spending, cache, idempotency, runaway, metrics, events, limits },
      embed: (call, text, model, signal) => this.#embed(call, text, model, signal),
    };
  }

  get store(): ProviderStore {
    return this.parts.providers;
  }

  get activeCalls(): number {
    return this.#calls.size;
  }

  async handle(name: DoorName, exchange: GatewayExchange): Promise<void> {
    const door: Door = doors[name];
    try {
      if (this.#closed) throw new HoldfastError('gateway.closed');
      const { maxCalls } = this.#limits;
      if (this.#admitted >= maxCalls)
        throw new HoldfastError('gateway.overloaded', `${maxCalls} calls are under way.`, { maxCalls });
      this.#admitted += 1;
      try {
        await this.#run(await this.#read(door, exchange));
      } finally {
        this.#admitted -= 1;
      }
    } catch (thrown) {
      this.#refuse(door, exchange, thrown);
    }
  }

  async listModels(exchange: GatewayExchange): Promise<void> {
    const door: Door =
      exchange.incoming.headers['anthropic-version'] === undefined ? doors.chatCompletions : doors.messages;
    try {
      if (this.#closed) throw new HoldfastError('gateway.closed');
      const table = await this.parts.catalogue.of(exchange.principal.workspaceId);
      const { data } = table.list();
      const allowed = data.filter(({ id }) => mayUseModel(exchange.principal, id));
      const body = JSON.stringify(modelListOf(door.family, allowed));
      new AnswerWriter(exchange.outgoing).whole(200, { 'content-type': 'application/json' }, body);
    } catch (thrown) {
      this.#refuse(door, exchange, thrown);
    }
  }

  async reload(configuration: GatewayConfiguration): Promise<void> {
    await this.parts.catalogue.replaceServer(configuration);
  }

  async health(workspaceId: string): Promise<readonly TargetReport[]> {
    const table = await this.parts.catalogue.of(workspaceId);
    return table.routeTargets().map(({ route, variant, target }) => ({
      ...{ route, variant, provider: target.provider.name, model: target.model },
      ...target.health.report(),
    }));
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls.keys()) call.abort(gatewayClosed());
    await Promise.all(this.#calls.values());
    await this.#closeParts();
  }

  async #read(door: Door, exchange: GatewayExchange): Promise<CallInput> {
    const { incoming, outgoing, principal, requestId, trace, signal, params, query } = exchange;
    const { headers } = incoming;
    if (hopsOf(headers) >= maxHops) throw new HoldfastError('gateway.route_loop', undefined, { hops: hopsOf(headers) });
    const bytes = await readRequestBody(incoming, this.#limits.maxRequestBytes);
    const pathModel = door.family === 'gemini' ? checkModel(params.model) : null;
    const request = parseModelRequest(door, headers['content-type'] ?? 'application/json', bytes, pathModel);
    return await this.#input(principal, {
      ...{ requestId, principal, headers, trace, signal, request, sink: new AnswerWriter(outgoing) },
      asJsonList: door.family === 'gemini' && request.stream && query.alt !== 'sse',
    });
  }

  /** Finds the model and its prices. Errors: `gateway.model_not_allowed`, `gateway.model_not_found`. */
  async #input(principal: Principal, input: Omit<CallInput, 'resolved' | 'prices'>): Promise<CallInput> {
    const { model } = input.request;
    if (!mayUseModel(principal, model))
      throw new HoldfastError('gateway.model_not_allowed', undefined, { model, allowed: principal.modelRoutes ?? [] });
    const found = this.parts.catalogue.of(principal.workspaceId);
    const table = found instanceof Promise ? await found : found;
    return {
      ...input,
      resolved: table.resolve(model),
      prices: await this.parts.prices.forWorkspace(principal.workspaceId),
    };
  }

  async #run(input: CallInput): Promise<void> {
    const call = new ModelCall(this.#services, input);
    const running = call.run();
    this.#calls.set(call, running);
    // Closed while its body was read: nobody else would end it.
    if (this.#closed) call.abort(gatewayClosed());
    await running;
    this.#calls.delete(call);
  }

  async #embed(call: CallInput, text: string, model: string, signal: AbortSignal): Promise<Float32Array> {
    const bytes = Buffer.from(JSON.stringify({ model, input: text }));
    const request = parseModelRequest(doors.embeddings, 'application/json', bytes, null);
    const sink = new MemoryAnswer();
    const { principal, requestId, trace } = call;
    const shared = { requestId, principal, trace, signal, request, sink, headers: {}, asJsonList: false };
    await this.#run(await this.#input(principal, shared));
    return embeddingOf(sink.status, sink.body);
  }

  #refuse(door: Door, exchange: GatewayExchange, thrown: unknown): void {
    const { requestId, outgoing, principal } = exchange;
    if (!(thrown instanceof HoldfastError)) this.parts.log.error('a gateway request failed', { error: thrown });
    const error = thrown instanceof HoldfastError ? thrown : new HoldfastError('internal.unexpected');
    this.parts.metrics.refused(principal.workspaceId, door.endpoint, error.code);
    if (outgoing.headersSent) {
      outgoing.destroy();
      return;
    }
    const { status, headers, body } = errorReply(door.family, error, requestId);
    new AnswerWriter(outgoing).whole(status, headers, body);
  }
}
