import { createServer } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { type SpanRecord, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { Principal } from '@holdfast/identity';
import type { z } from 'zod';
import { gatewayConfiguration } from './configuration.ts';
import { type Gateway, type GatewayLimits, openGateway } from './gateway.ts';
import { openTestDatabase } from './test-database.ts';
import { portOf, TestProvider } from './test-provider.ts';

export const principal: Principal = { workspaceId: 'ws_1', keyId: 'key_1', userId: 'usr_1', role: 'developer' };

export interface Harness {
  readonly database: Database;
  readonly first: TestProvider;
  readonly second: TestProvider;
  readonly spans: SpanRecord[];
  open(config?: z.input<typeof gatewayConfiguration>, limits?: Partial<GatewayLimits>): Promise<Gateway>;
  /** Two providers behind the route `smart`, the first with this time-out. */
  openPair(timeoutMs?: number, limits?: Partial<GatewayLimits>): Promise<Gateway>;
  /** Ledger rows of a trace, in order of the attempts. */
  calls(traceId: string): Promise<CallRow[]>;
  close(): Promise<void>;
}

const selectCalls = (database: Database, traceId: string) =>
  database.kysely.selectFrom('model_calls').selectAll().where('trace_id', '=', traceId).orderBy('attempt').execute();
type CallRow = Awaited<ReturnType<typeof selectCalls>>[number];

/** A gateway's whole surroundings, all real: PostgreSQL and two providers on HTTP. */
export const openHarness = async (): Promise<Harness> => {
  const opened = await openTestDatabase();
  const [first, second] = [new TestProvider(), new TestProvider()];
  await first.listen();
  await second.listen();
  const spans: SpanRecord[] = [];
  const gateways: Gateway[] = [];
  const { database } = opened;
  const open: Harness['open'] = async (config = {}, limits = {}) => {
    const { providers, routes } = gatewayConfiguration.parse(config);
    const sink = { emit: (span: SpanRecord) => void spans.push(span) };
    const gateway = await openGateway({
      database,
      providers,
      routes,
      spans: sink,
      clock: systemClock,
      log: silentLog,
      limits,
    });
    gateways.push(gateway);
    return gateway;
  };
  return {
    database,
    first,
    second,
    spans,
    open,
    openPair: (timeoutMs = 30_000, limits = {}) =>
      open(
        {
          providers: [
            { name: 'first', kind: 'openai-compatible', baseUrl: first.baseUrl, apiKey: 'sk-first', timeoutMs },
            { name: 'second', kind: 'openai-compatible', baseUrl: `${second.baseUrl}/`, apiKey: 'sk-second' },
          ],
          routes: [
            {
              name: 'smart',
              targets: [
                { provider: 'first', model: 'gpt-4.1-mini' },
                { provider: 'second', model: 'gpt-4o-mini' },
              ],
            },
          ],
        },
        limits,
      ),
    calls: (traceId) => selectCalls(database, traceId),
    async close() {
      for (const gateway of gateways) await gateway.close();
      await first.close();
      await second.close();
      await opened[Symbol.asyncDispose]();
    },
  };
};

export const chat = (body: unknown, init: { signal?: AbortSignal; headers?: Record<string, string> } = {}): Request =>
  new Request('http://holdfast.test/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer hf_callers_key', ...init.headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(init.signal === undefined ? {} : { signal: init.signal }),
  });

export const question = { model: 'smart', messages: [{ role: 'user', content: 'How many files?' }] };

export const traceIdOf = (response: Response): string => response.headers.get('x-holdfast-trace-id') ?? '';

/** Waits until `check` holds, or fails after a generous bound. */
export const until = async (check: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  const deadline = performance.now() + 10_000;
  while (!(await check())) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** Serves a gateway over HTTP, as the server does: the request's signal aborts when the client goes away. */
export const serve = async (gateway: Gateway): Promise<{ url: string; close: () => void }> => {
  const server = createServer(async (req, res) => {
    const gone = new AbortController();
    res.once('close', () => gone.abort());
    const headers = new Headers();
    for (const [name, value] of Object.entries(req.headers)) if (typeof value === 'string') headers.set(name, value);
    const body = req.method === 'GET' ? null : new Blob([await buffer(req)]);
    const url = `http://holdfast.test${req.url ?? '/'}`;
    const answer = await gateway.handler(
      new Request(url, { method: req.method ?? 'GET', headers, body, signal: gone.signal }),
      principal,
    );
    res.writeHead(answer.status, Object.fromEntries(answer.headers));
    res.flushHeaders();
    for await (const chunk of answer.body ?? []) res.write(chunk);
    res.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${portOf(server)}/v1`, close };
};
