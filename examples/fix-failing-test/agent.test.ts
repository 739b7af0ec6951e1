import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { traceRoutes } from '@holdfast/contract';
import { parseTraceparent, Secret, silentLog, systemClock } from '@holdfast/core';
import { type Database, openDatabase } from '@holdfast/db';
import { type Gateway, gatewayConfiguration, MasterKeys, openGateway } from '@holdfast/gateway';
import { type Observability, openObservability } from '@holdfast/observability';
import { createClient } from '@holdfast/sdk';
import { type AgentEvent, runAgent } from './agent.ts';
import { localTools } from './local-tools.ts';
import { SpanReporter } from './spans.ts';
import { testCounts } from './stages.ts';

const principal = { workspaceId: 'ws_1', keyId: 'key_1', userId: null, role: 'developer' } as const;

let folder: string;
let database: Database;
let observability: Observability;
let gateway: Gateway;
let server: Server;
let baseURL: string;

/** What the server does for a request to the gateway, without keys. */
const serveGateway = (): Server =>
  createServer((incoming, outgoing) => {
    const { traceparent } = incoming.headers;
    const trace = typeof traceparent === 'string' ? parseTraceparent(traceparent) : null;
    const { signal } = new AbortController();
    const exchange = { requestId: 'req_test', principal, incoming, outgoing, params: {}, query: {}, trace, signal };
    void gateway.handle('chatCompletions', exchange);
  });

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-example-'));
  // PostgreSQL runs as another user when this is root.
  await chmod(folder, 0o755);
  database = await openDatabase({ embedded: { folder: join(folder, 'postgres') } });
  const ports = { database, clock: systemClock, log: silentLog };
  observability = openObservability(ports);
  const recorded = { name: 'recorded', kind: 'recorded', baseUrl: join(import.meta.dirname, 'recorded'), pace: 0 };
  const configuration = gatewayConfiguration.parse({ providers: [recorded] });
  const masterKeys = MasterKeys.fromSecret(new Secret(Buffer.alloc(32, 1).toString('base64')));
  gateway = await openGateway({ ...ports, configuration, masterKeys, spans: observability.sink });
  server = serveGateway().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  baseURL = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/v1`;
});

after(async () => {
  server.closeAllConnections();
  server.close();
  await gateway.close();
  await observability.close();
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

const reporter = (): SpanReporter =>
  new SpanReporter(
    createClient({
      url: 'http://holdfast.test',
      apiKey: null,
      fetch: async (request) => {
        assert.equal(new URL(request.url).pathname, '/api/spans');
        const { spans } = traceRoutes.postSpans.body.parse(await request.json());
        return Response.json(observability.ingest(principal, spans));
      },
    }),
  );

const agentOptions = (root: string, spans: SpanReporter) => ({
  baseURL,
  apiKey: 'hf_test',
  model: 'recorded/fix-failing-test',
  task: 'Fix the bug.',
  tools: localTools(root),
  spans,
});

test('the agent fixes the bug with recorded replies, and its trace is a tree with tokens and cost', async () => {
  const root = join(folder, 'repository');
  await cp(join(import.meta.dirname, 'repo'), root, { recursive: true });
  const spans = reporter();
  const events: AgentEvent[] = [];
  const result = await spans.within({ kind: 'run', name: 'demo', parent: null }, (parent) =>
    runAgent({ ...agentOptions(root, spans), parent, onEvent: (event) => void events.push(event) }),
  );
  assert.equal(result.recorded, true);
  assert.equal(result.steps, 5);
  assert.match(result.answer, /^All 16 tests pass\./);
  const runs = events.flatMap((event) => (event.type === 'used' ? (testCounts(event.output) ?? []) : []));
  assert.deepEqual(runs, [
    { passed: 13, failed: 3 },
    { passed: 16, failed: 0 },
  ]);
  assert.match(await readFile(join(root, 'src/interval.js'), 'utf8'), /Math\.max\(last\.end, end\)/);

  await spans.flush();
  const trace = await observability.getTrace(principal, spans.traceId);
  assert.deepEqual(
    trace.spans.map(({ depth, kind, status }) => `${depth} ${kind} ${status}`),
    [
      '0 run ok',
      '1 agent ok',
      ...['model', 'tool', 'tool', 'model', 'tool', 'tool', 'model', 'tool', 'model', 'tool', 'model'].map(
        (kind) => `2 ${kind} ok`,
      ),
    ],
  );
  assert.ok(trace.inputTokens > 1000 && trace.outputTokens > 100 && trace.costMicroUsd > 0);
  assert.equal(trace.spans.filter(({ attributes }) => attributes.recorded === true).length, 5);
  assert.equal(trace.spans.filter(({ attributes }) => attributes.exitCode === 1).length, 1);
});

test('a tool that fails is told to the model and marked in the trace; the agent stops at its limit', async () => {
  const spans = reporter();
  const events: AgentEvent[] = [];
  const run = runAgent({
    ...agentOptions(join(folder, 'nowhere'), spans),
    parent: null,
    maxSteps: 2,
    onEvent: (event) => void events.push(event),
  });
  await assert.rejects(run, /did not finish within 2 steps/);
  const outputs = events.flatMap((event) => (event.type === 'used' ? [event.output] : []));
  assert.equal(outputs.length, 4);
  assert.ok(outputs.every((output) => output.startsWith('The tool failed: ')));
  await spans.flush();
  const trace = await observability.getTrace(principal, spans.traceId);
  const tools = trace.spans.filter(({ kind }) => kind === 'tool');
  assert.deepEqual(
    tools.map(({ status }) => status),
    ['error', 'error', 'error', 'error'],
  );
  assert.equal(trace.spans[0]?.status, 'error');
});

test('an error of the listener ends the agent instead of reaching the model', async () => {
  const spans = reporter();
  const run = runAgent({
    ...agentOptions(folder, spans),
    parent: null,
    onEvent: ({ type }) => {
      if (type === 'used') throw new Error('the listener failed');
    },
  });
  await assert.rejects(run, /the listener failed/);
});
