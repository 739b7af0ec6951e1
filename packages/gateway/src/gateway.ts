import { maxModelRequestBytes } from '@holdfast/contract';
import { type Clock, HoldfastError, type Log, type SpanSink } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { Principal } from '@holdfast/identity';
import { readRequestBody } from './bounded-body.ts';
import { CallJournal } from './call-journal.ts';
import { ChatCall } from './chat-call.ts';
import { parseChatRequest } from './chat-request.ts';
import type { ModelRouteConfiguration, ProviderConfiguration } from './configuration.ts';
import { AttemptFailure } from './failure.ts';
import { openAiErrorResponse } from './openai-error.ts';
import { openAiUpstream } from './openai-upstream.ts';
import { sentHeaders } from './provider-answer.ts';
import { recordedUpstream } from './recorded-upstream.ts';
import { TargetTable } from './targets.ts';
import type { Upstream } from './upstream.ts';

export interface GatewayLimits {
  readonly maxRequestBytes: number;
  /** Longest whole answer, and longest stream. */
  readonly maxResponseBytes: number;
  /** Longest server-sent event of a provider. */
  readonly maxEventBytes: number;
  /** Calls at the same time. */
  readonly maxCalls: number;
}

const defaultLimits: GatewayLimits = {
  maxRequestBytes: maxModelRequestBytes,
  maxResponseBytes: 67_108_864,
  maxEventBytes: 8_388_608,
  maxCalls: 1_000,
};

export interface GatewayOptions {
  readonly database: Database;
  readonly providers: readonly ProviderConfiguration[];
  readonly routes: readonly ModelRouteConfiguration[];
  readonly spans: SpanSink;
  readonly clock: Clock;
  readonly log: Log;
  readonly fetch?: typeof fetch;
  readonly limits?: Partial<GatewayLimits>;
}

export interface Gateway {
  /**
   * Answers a request under `/v1`. Never rejects: errors are answers in OpenAI's envelope. The call ends when
   * `request.signal` aborts or the answer's body is cancelled, so a server must do either when its client goes away.
   */
  handler(request: Request, caller: Principal): Promise<Response>;
  /** Ends all calls, and resolves when they are written down. */
  close(): Promise<void>;
}

class OpenGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #limits: GatewayLimits;
  readonly #targets: TargetTable;
  readonly #calls = new Set<ChatCall>();
  /** Requests that are still being read count, too: they hold memory. */
  #admitted = 0;
  #closed = false;

  constructor(options: GatewayOptions, upstreams: readonly Upstream[]) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#targets = new TargetTable(upstreams, options.routes);
  }

  async handler(request: Request, caller: Principal): Promise<Response> {
    try {
      if (this.#closed) throw new HoldfastError('gateway.closed');
      return await this.#route(request, caller);
    } catch (error) {
      if (error instanceof HoldfastError) return openAiErrorResponse(error);
      this.#options.log.error('a gateway request failed', { error });
      return openAiErrorResponse(new HoldfastError('internal.unexpected'));
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const error = new HoldfastError('gateway.closed');
    const reason = new AttemptFailure({ errorClass: 'gateway_closed', error, failover: false });
    const calls = [...this.#calls];
    for (const call of calls) call.abort(reason);
    await Promise.all(calls.map((call) => call.settled));
  }

  async #route(request: Request, caller: Principal): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === '/v1/models') {
      if (request.method !== 'GET') throw new HoldfastError('request.method_not_allowed');
      return Response.json(this.#targets.list());
    }
    if (pathname !== '/v1/chat/completions') throw new HoldfastError('gateway.endpoint_unsupported');
    if (request.method !== 'POST') throw new HoldfastError('request.method_not_allowed');
    if (caller.role === 'viewer') throw new HoldfastError('auth.forbidden');
    return await this.#chat(request, caller);
  }

  async #chat(request: Request, caller: Principal): Promise<Response> {
    const { maxCalls } = this.#limits;
    if (this.#admitted >= maxCalls)
      throw new HoldfastError('gateway.overloaded', `${maxCalls} calls are under way.`, { maxCalls });
    this.#admitted += 1;
    let settled: Promise<void> = Promise.resolve();
    try {
      const call = await this.#prepare(request, caller);
      settled = call.settled;
      return await this.#run(call, request.signal);
    } finally {
      void settled.then(() => {
        this.#admitted -= 1;
      });
    }
  }

  async #prepare(request: Request, caller: Principal): Promise<ChatCall> {
    const chat = parseChatRequest(await readRequestBody(request, this.#limits.maxRequestBytes));
    const { route, targets } = this.#targets.resolve(chat.model);
    return new ChatCall({
      request: chat,
      targets,
      headers: sentHeaders(request),
      journal: new CallJournal(this.#options, {
        caller,
        endpoint: 'chat.completions',
        requestedModel: chat.model,
        route,
        streamed: chat.stream,
        traceparent: request.headers.get('traceparent'),
      }),
      clock: this.#options.clock,
      limits: this.#limits,
    });
  }

  async #run(call: ChatCall, signal: AbortSignal): Promise<Response> {
    if (this.#closed) throw new HoldfastError('gateway.closed');
    const onAbort = (): void => call.disconnect();
    this.#calls.add(call);
    signal.addEventListener('abort', onAbort, { once: true });
    void call.settled.then(() => {
      this.#calls.delete(call);
      signal.removeEventListener('abort', onAbort);
    });
    if (signal.aborted) onAbort();
    return await call.answer();
  }
}

/** Loads the providers. Throws `gateway.recording_invalid` and `config.invalid`. */
export const openGateway = async (options: GatewayOptions): Promise<Gateway> => {
  const fetchWith = options.fetch ?? fetch;
  const upstreams: Upstream[] = [];
  for (const provider of options.providers)
    upstreams.push(
      provider.kind === 'recorded'
        ? await recordedUpstream(provider, options.clock)
        : openAiUpstream(provider, fetchWith),
    );
  return new OpenGateway(options, upstreams);
};
