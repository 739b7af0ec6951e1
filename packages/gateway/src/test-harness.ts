import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { parseTraceparent, Secret, type SpanRecord, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { Principal } from '@holdfast/identity';
import type { z } from 'zod';
import { gatewayConfiguration } from './configuration.ts';
import type { DoorName } from './doors/door.ts';
import type { Gateway, GatewayLimits } from './gateway.ts';
import { type GatewayOptions, openGateway } from './open-gateway.ts';
import { MasterKeys } from './secrets/master-keys.ts';
import { openTestDatabase } from './test-database.ts';
import { portOf, TestProvider } from './test-provider.ts';

export const principal: Principal = { workspaceId: 'ws_1', keyId: 'key_1', userId: 'usr_1', role: 'developer' };

export const masterKeys = MasterKeys.fromSecret(new Secret(Buffer.alloc(32, 7).toString('base64')));

export interface Harness {
  readonly database: Database;
  readonly first: TestProvider;
  readonly second: TestProvider;
  readonly spans: SpanRecord[];
  open(
    config?: z.input<typeof gatewayConfiguration>,
    limits?: Partial<GatewayLimits>,
    more?: Partial<Pick<GatewayOptions, 'clock' | 'random' | 'breaker'>>,
  ): Promise<Gateway>;
  /** Two providers behind the route `smart`, the first with this time-out. */
  openPair(timeoutMs?: number, limits?: Partial<GatewayLimits>): Promise<Gateway>;
  /** Ledger rows of a trace, in order of the attempts, once there are so many. */
  calls(traceId: string, count?: number): Promise<CallRow[]>;
  close(): Promise<void>;
}

const selectCalls = (database: Database, traceId: string) =>
  database.kysely.selectFrom('model_attempts').selectAll().where('trace_id', '=', traceId).orderBy('attempt').execute();
export type CallRow = Awaited<ReturnType<typeof selectCalls>>[number];

/** Waits until `check` holds, or fails after a generous bound. */
export const until = async (check: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  const deadline = performance.now() + 10_000;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

const pairOf = (first: TestProvider, second: TestProvider, timeoutMs: number) => ({
  providers: [
    {
      ...{ name: 'first', kind: 'openai-compatible' as const, prices: 'openai' },
      ...{ baseUrl: first.baseUrl, apiKey: 'sk-first', timeoutMs },
    },
    {
      ...{ name: 'second', kind: 'openai-compatible' as const, prices: 'openai' },
      ...{ baseUrl: `${second.baseUrl}/`, apiKey: 'sk-second' },
    },
  ],
  routes: [
    {
      name: 'smart',
      retries: 0,
      targets: [
        { provider: 'first', model: 'gpt-4.1-mini' },
        { provider: 'second', model: 'gpt-4o-mini' },
      ],
    },
  ],
});

/** A gateway's whole surroundings, all real: PostgreSQL and two providers on HTTP. */
export const openHarness = async (): Promise<Harness> => {
  const opened = await openTestDatabase();
  const { database } = opened;
  await database.kysely.insertInto('workspaces').values({ id: 'ws_1', name: 'test', created_at: new Date() }).execute();
  const [first, second] = [new TestProvider(), new TestProvider()];
  await first.listen();
  await second.listen();
  const spans: SpanRecord[] = [];
  const gateways: Gateway[] = [];
  const open: Harness['open'] = async (config = {}, limits = {}, more = {}) => {
    const gateway = await openGateway({
      ...{ database, limits, masterKeys, clock: systemClock, log: silentLog },
      configuration: gatewayConfiguration.parse(config),
      // Tests let targets fail in a row; those of the breaker open it by themselves.
      breaker: { failuresToOpen: 1_000 },
      ...more,
      spans: { emit: (span: SpanRecord) => void spans.push(span) },
    });
    gateways.push(gateway);
    return gateway;
  };
  return {
    ...{ database, first, second, spans, open },
    openPair: (timeoutMs = 30_000, limits = {}) => open(pairOf(first, second, timeoutMs), limits),
    async calls(traceId, count = 1) {
      await until(async () => (await selectCalls(database, traceId)).length >= count, `${count} rows of ${traceId}`);
      return await selectCalls(database, traceId);
    },
    async close() {
      for (const gateway of gateways) {
        servers.get(gateway)?.close();
        await gateway.close();
      }
      await first.close();
      await second.close();
      await opened[Symbol.asyncDispose]();
    },
  };
};

export const chat = (
  body: unknown,
  init: { signal?: AbortSignal; headers?: Record<string, string>; path?: string } = {},
): Request =>
  new Request(`http://holdfast.test${init.path ?? '/v1/chat/completions'}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer hf_callers_key', ...init.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(init.signal === undefined ? {} : { signal: init.signal }),
  });

export const question = { model: 'smart', messages: [{ role: 'user', content: 'How many files?' }] };

export const traceIdOf = (response: Response): string => response.headers.get('x-holdfast-trace-id') ?? '';

const pathOf: Readonly<Record<string, DoorName>> = {
  '/v1/chat/completions': 'chatCompletions',
  '/v1/responses': 'responses',
  '/v1/embeddings': 'embeddings',
  '/v1/images/generations': 'imageGenerations',
  '/v1/images/edits': 'imageEdits',
  '/v1/images/variations': 'imageVariations',
  '/v1/audio/speech': 'audioSpeech',
  '/v1/audio/transcriptions': 'audioTranscriptions',
  '/v1/audio/translations': 'audioTranslations',
  '/v1/messages': 'messages',
  '/v1/messages/count_tokens': 'countTokens',
};

const geminiDoors: Readonly<Record<string, DoorName>> = {
  generateContent: 'geminiGenerate',
  streamGenerateContent: 'geminiStream',
  embedContent: 'geminiEmbed',
  batchEmbedContents: 'geminiBatchEmbed',
};

const doorOf = (pathname: string): { door: DoorName | null; params: Record<string, string> } => {
  const [, model, action] = /^\/v1(?:beta)?\/models\/(.+):(\w+)$/.exec(pathname) ?? [];
  if (model !== undefined)
    return { door: geminiDoors[action ?? ''] ?? null, params: { model: decodeURIComponent(model) } };
  return { door: pathOf[pathname] ?? null, params: {} };
};

const callerHeader = 'x-test-caller';

const serveOne = async (gateway: Gateway, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
  const gone = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  const url = new URL(incoming.url ?? '/', 'http://holdfast.test');
  const told = incoming.headers[callerHeader];
  const caller = typeof told === 'string' ? { ...principal, ...Object(JSON.parse(told)) } : principal;
  const header = incoming.headers.traceparent;
  const { door, params } = doorOf(url.pathname);
  const exchange = {
    ...{ requestId: 'req_test', principal: caller, incoming, outgoing, params, signal: gone.signal },
    query: Object.fromEntries(url.searchParams),
    trace: typeof header === 'string' ? parseTraceparent(header) : null,
  };
  if (url.pathname === '/v1/models') await gateway.listModels(exchange);
  else if (door === null) outgoing.writeHead(404).end();
  else await gateway.handle(door, exchange);
};

/** Serves a gateway over HTTP, as the server does. */
export const serve = async (gateway: Gateway): Promise<{ origin: string; url: string; close: () => void }> => {
  const server: Server = createServer((incoming, outgoing) => void serveOne(gateway, incoming, outgoing));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  const origin = `http://127.0.0.1:${portOf(server)}`;
  return { origin, url: `${origin}/v1`, close };
};

const servers = new Map<Gateway, Awaited<ReturnType<typeof serve>>>();

/** Sends a request to a gateway over HTTP, in the name of a caller. */
export const ask = async (gateway: Gateway, request: Request, caller: Principal = principal): Promise<Response> => {
  const served = servers.get(gateway) ?? (await serve(gateway));
  servers.set(gateway, served);
  const { pathname, search } = new URL(request.url);
  const headers = new Headers(request.headers);
  headers.set(callerHeader, JSON.stringify(caller));
  const { method, body, signal } = request;
  return await fetch(`${served.origin}${pathname}${search}`, {
    ...{ method, headers, signal },
    ...(body === null ? {} : { body, duplex: 'half' }),
  });
};
