import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { allRoutes, problemOf, type Route, type RouteName } from '@holdfast/contract';
import { errorCatalogue, HoldfastError } from '@holdfast/core';
import { createClient } from './client.ts';
import { sampleOf, sendProblem, startContractServer, textOf } from './contract-server.ts';
import type { RouteArguments } from './route-call.ts';

const params = { id: 'sbx_1' };
const span = {
  traceId: 'a'.repeat(32),
  spanId: 'b'.repeat(16),
  kind: 'tool' as const,
  name: 'x',
  startMs: 1,
  endMs: 2,
};

/** Arguments for the routes that need some; the compiler checks each against its route. */
const samples: { readonly [K in RouteName]?: RouteArguments<(typeof allRoutes)[K]> } = {
  getWorkspace: { params: { id: 'ws_1' } },
  createKey: { body: { name: 'ci' } },
  revokeKey: { params: { id: 'key_1' } },
  createTeam: { body: { name: 'research' } },
  removeTeam: { params: { id: 'research' } },
  createAgent: { body: { name: 'planner', team: 'research' } },
  removeAgent: { params: { id: 'planner' } },
  createUser: { body: { name: 'ada' } },
  listSandboxes: { query: { limit: 5, state: 'standby' } },
  getSandbox: { params: { id: 'my box/ü?#' } },
  deleteSandbox: { params },
  standbySandbox: { params, body: { force: true } },
  resumeSandbox: { params },
  forkSandbox: { params, body: { count: 3 } },
  whySandbox: { params },
  keepSandboxAlive: { params, body: { seconds: 60 } },
  sandboxEvents: { params, query: { after: 7 } },
  exec: { params, body: { argv: ['ls', '-l'] } },
  execStream: { params, body: { shell: 'ls' } },
  startProcess: { params, body: { name: 'counter', shell: 'sleep 1' } },
  listProcesses: { params },
  processLogs: { params: { id: 'sbx_1', name: 'counter' }, query: { follow: true } },
  stopProcess: { params: { id: 'sbx_1', name: 'counter' } },
  readFile: { params, query: { path: '/a b&c=+%', offset: 0, length: 3 } },
  writeFile: { params, query: { path: '/a', mode: '644', parents: true }, body: 'content' },
  removeFile: { params, query: { path: '/a', recursive: false } },
  statFile: { params, query: { path: '/a' } },
  listFiles: { params, query: { path: '/a' } },
  makeDirectory: { params, body: { path: '/a' } },
  moveFile: { params, body: { from: '/a', to: '/b' } },
  watchFiles: { params, query: { path: '/a', recursive: true } },
  downloadTree: { params, query: { path: '/a' } },
  uploadTree: { params, query: { path: '/a' }, body: new Uint8Array([1, 2, 3]) },
  shell: { params, query: { rows: 40, cols: 100 } },
  forwardPort: { params: { id: 'sbx_1', port: 8080 } },
  chatCompletions: { body: '{}' },
  responses: { body: '{}' },
  embeddings: { body: '{}' },
  imageGenerations: { body: '{}' },
  imageEdits: { body: '{}' },
  imageVariations: { body: '{}' },
  audioSpeech: { body: '{}' },
  audioTranscriptions: { body: '{}' },
  audioTranslations: { body: '{}' },
  messages: { body: '{}' },
  countTokens: { body: '{}' },
  geminiGenerate: { params: { model: 'gemini-2.5-pro' }, body: '{}' },
  geminiStream: { params: { model: 'gemini-2.5-pro' }, query: { alt: 'sse' }, body: '{}' },
  geminiEmbed: { params: { model: 'embed' }, body: '{}' },
  geminiBatchEmbed: { params: { model: 'embed' }, body: '{}' },
  geminiGenerateV1: { params: { model: 'gemini-2.5-pro' }, body: '{}' },
  geminiStreamV1: { params: { model: 'gemini-2.5-pro' }, query: { alt: 'sse' }, body: '{}' },
  geminiEmbedV1: { params: { model: 'embed' }, body: '{}' },
  geminiBatchEmbedV1: { params: { model: 'embed' }, body: '{}' },
  putProvider: { body: { name: 'groq', kind: 'openai-compatible', baseUrl: 'https://api.groq.com/openai/v1' } },
  removeProvider: { params: { name: 'groq' } },
  putModelRoute: { body: { name: 'smart', targets: [{ provider: 'groq', model: 'llama' }] } },
  removeModelRoute: { params: { name: 'smart/fast' } },
  importGateway: { body: { text: 'model_list: []' } },
  createBudget: { body: { period: 'month', amount: 5_000_000 } },
  changeBudget: { params: { id: 'bgt_1' }, body: { amount: 1 } },
  removeBudget: { params: { id: 'bgt_1' } },
  createPrice: { body: { provider: 'openai', model: 'mine', rates: { input: 100_000 } } },
  removePrice: { params: { id: 'prc_1' } },
  gatewayUsage: { query: { by: ['model', 'day'] } },
  putCaps: { body: { subject: 'run', subjectId: 'nightly', maxCalls: 10 } },
  removeCaps: { params: { subject: 'run', id: 'nightly' } },
  setKill: { body: { subject: 'workspace' } },
  liftKill: { params: { id: 'kil_1' } },
  tailGateway: { query: { last: 5, follow: true } },
  createWebhook: { body: { url: 'https://example.com/' } },
  removeWebhook: { params: { id: 'whk_1' } },
  testWebhook: { params: { id: 'whk_1' } },
  listDeliveries: { params: { id: 'whk_1' } },
  getTrace: { params: { id: 'c'.repeat(32) } },
  postSpans: { body: { spans: [span] } },
};

const isRouteName = (name: string): name is RouteName => Object.hasOwn(allRoutes, name);

const codeOf = async (promise: Promise<unknown>): Promise<HoldfastError> => {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof HoldfastError, `a HoldfastError, not ${String(error)}`);
  return error;
};

test('every route of the contract has a method that reaches it with valid arguments and reads its answer', async () => {
  await using server = await startContractServer({
    answer: async ({ route, request }, response) => {
      if (route.bodyKind === 'bytes') await textOf(request);
      const status = route.status ?? 200;
      const text = route.response === undefined ? '' : JSON.stringify(sampleOf(route.response));
      if (route.answer === 'json') response.writeHead(status, { 'content-type': 'application/json' }).end(text);
      else if (route.answer === 'sse') response.writeHead(status).end(`data: ${text}\n\n`);
      else if (route.answer === 'bytes') response.writeHead(status).end('bytes');
      else response.writeHead(status).end();
    },
    socket: (_, socket) => socket.close(1000),
  });
  const client = createClient({ url: server.url, apiKey: 'hf_secret' });
  for (const [name, route] of Object.entries<Route>(allRoutes)) {
    assert.ok(isRouteName(name));
    const given: object | undefined = samples[name];
    // Each method accepts its own sample, as the type of `samples` proves; all methods together have no common parameter.
    const answer: unknown = await Reflect.apply(client[name], null, given === undefined ? [] : [given]);
    const call = server.calls.at(-1);
    assert.equal(call?.name, name);
    assert.equal(call?.request.headers.authorization, 'Bearer hf_secret');
    if (route.answer === 'json') assert.deepEqual(answer, sampleOf(route.response ?? assert.fail()));
    if (route.answer === 'empty') assert.equal(answer, undefined);
  }
  const seen = new Map(server.calls.map((call) => [call.name, call]));
  assert.deepEqual(seen.get('getSandbox')?.params, { id: 'my box/ü?#' });
  assert.deepEqual(seen.get('readFile')?.query, { path: '/a b&c=+%', offset: 0, length: 3 });
  assert.deepEqual(seen.get('processLogs')?.query, { follow: true });
  assert.deepEqual(seen.get('forwardPort')?.params, { id: 'sbx_1', port: 8080 });
  assert.deepEqual(seen.get('keepSandboxAlive')?.body, { seconds: 60 });
});

test('a body of defaults may be left out, an undefined query value is not sent', async () => {
  await using server = await startContractServer({
    answer: ({ route }, response) => {
      response.writeHead(200).end(JSON.stringify(sampleOf(route.response ?? assert.fail())));
    },
  });
  const client = createClient({ url: `${server.url}/`, apiKey: null });
  await client.createSandbox();
  await client.listSandboxes({ query: { limit: undefined } });
  assert.equal(server.calls.length, 2);
  assert.equal(server.calls[0]?.request.headers.authorization, undefined);
  assert.equal(server.calls[1]?.request.url, '/api/sandboxes');
});

test('[R-errors-one-catalogue] problem details become an error with the same code, message and details', async () => {
  const sent = new HoldfastError('resource.conflict', 'It is busy.', { reasons: ['exec'] });
  await using server = await startContractServer({ answer: (_, response) => sendProblem(response, sent) });
  const client = createClient({ url: server.url, apiKey: null });
  for (const call of [
    client.whoami(),
    client.deleteSandbox({ params }),
    client.execStream(samples.execStream ?? assert.fail()),
  ]) {
    const error = await codeOf(call);
    assert.equal(error.code, 'resource.conflict');
    assert.equal(error.message, 'It is busy.');
    assert.deepEqual(error.details, { reasons: ['exec'], requestId: 'req_test' });
  }
});

test('answers that are not problem details still have a code', async () => {
  let text = '';
  let status = 500;
  await using server = await startContractServer({
    answer: (_, response) => {
      response.writeHead(status).end(text);
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  const failure = (s: number, t: string) => {
    status = s;
    text = t;
    return codeOf(client.whoami());
  };
  const later = { ...problemOf(new HoldfastError('request.invalid'), null), code: 'later.code' };
  const unknown = await failure(418, JSON.stringify(later));
  assert.equal(unknown.code, 'internal.unexpected');
  assert.equal(unknown.details.code, 'later.code');

  const envelope = {
    message: 'no such model',
    type: 'x',
    param: null,
    code: 'gateway.model_not_found',
    details: { a: 1 },
  };
  const openAi = await failure(404, JSON.stringify({ error: envelope }));
  assert.equal(openAi.code, 'gateway.model_not_found');
  assert.equal(openAi.message, 'no such model');

  const proxy = await failure(502, '<html>Bad gateway</html>');
  assert.equal(proxy.code, 'internal.unexpected');
  assert.deepEqual(proxy.details, { status: 502, body: '<html>Bad gateway</html>' });
  assert.equal((await failure(401, '')).code, 'auth.invalid');
  assert.equal((await failure(413, '')).code, 'request.too_large');

  assert.equal((await failure(200, 'not json')).code, 'server.answer_invalid');
  const shape = await failure(200, '{"workspaceId":1}');
  assert.equal(shape.code, 'server.answer_invalid');
  assert.match(shape.message, /GET \/api\/whoami/);
  assert.equal(errorCatalogue[shape.code].status, 502);
});

test('a server that does not listen, or hangs up, is server.unreachable', async () => {
  const gone = await startContractServer({});
  await gone[Symbol.asyncDispose]();
  const refused = await codeOf(createClient({ url: gone.url, apiKey: null }).whoami());
  assert.equal(refused.code, 'server.unreachable');
  assert.equal(refused.details.reason, 'ECONNREFUSED');
  assert.match(refused.message, /No Holdfast server listens at http:\/\/127\.0\.0\.1:/);
  const socket = await codeOf(
    createClient({ url: gone.url, apiKey: null }).forwardPort({ params: { id: 'a', port: 1 } }),
  );
  assert.equal(socket.code, 'server.unreachable');

  await using server = await startContractServer({
    answer: (_, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('half', () => response.destroy());
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  assert.equal((await codeOf(client.createSandbox())).code, 'server.unreachable');
  const half = await client.readFile({ params, query: { path: '/a' } });
  assert.equal((await codeOf(half.bytes())).code, 'server.unreachable');
});

test('a read on a connection that the server had closed is repeated, a change is not', async () => {
  const requests: string[] = [];
  const answers = [
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}',
    null,
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}',
    null,
  ];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data) => {
      requests.push(data.toString().split(' ', 2).join(' '));
      const answer = answers[requests.length - 1];
      if (answer === null || answer === undefined) socket.resetAndDestroy();
      else socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const client = createClient({ url: `http://127.0.0.1:${port}`, apiKey: null });
  // `{}` is no valid answer of these routes, which also proves that it arrived.
  assert.equal((await codeOf(client.whoami())).code, 'server.answer_invalid');
  assert.equal((await codeOf(client.whoami())).code, 'server.answer_invalid');
  assert.equal((await codeOf(client.createSandbox())).code, 'server.unreachable');
  assert.deepEqual(requests, ['GET /api/whoami', 'GET /api/whoami', 'GET /api/whoami', 'POST /api/sandboxes']);
  await new Promise((resolve) => server.close(resolve));
});

test('path values that would reach another route are refused before anything is sent', async () => {
  await using server = await startContractServer({});
  const client = createClient({ url: server.url, apiKey: null });
  for (const id of ['', '.', '..']) {
    assert.equal((await codeOf(client.deleteSandbox({ params: { id } }))).code, 'request.invalid');
  }
  assert.equal(server.calls.length, 0);
  assert.throws(() => createClient({ url: 'nonsense', apiKey: null }), { code: 'request.invalid' });
});

test('aborting rejects with the reason of the signal', async () => {
  await using server = await startContractServer({});
  const client = createClient({ url: server.url, apiKey: null });
  const reason = new Error('enough');
  await assert.rejects(client.whoami({}, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const pending = client.whoami({}, { signal: controller.signal });
  while (server.calls.length === 0) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(reason);
  await assert.rejects(pending, reason);
});

test('headers are added per client and per call, and the key is not shown', async () => {
  await using server = await startContractServer({
    answer: ({ route }, response) => {
      response.end(JSON.stringify(sampleOf(route.response ?? assert.fail())));
    },
  });
  const client = createClient({ url: server.url, apiKey: 'hf_secret', headers: { 'x-a': '1' } });
  await client
    .with({ traceparent: 'tp' })
    .sandbox('box')
    .info({ headers: { 'x-b': '2' } });
  const { headers } = server.calls[0]?.request ?? assert.fail();
  assert.deepEqual([headers['x-a'], headers['x-b'], headers.traceparent], ['1', '2', 'tp']);
  assert.equal(headers.authorization, 'Bearer hf_secret');
  assert.ok(!inspect(client, { depth: 9, showHidden: true }).includes('hf_secret'));
});

test('a given fetch carries every HTTP request', async () => {
  const seen: string[] = [];
  const client = createClient({
    url: 'http://inside',
    apiKey: 'hf_secret',
    fetch: async (request) => {
      seen.push(`${request.method} ${request.url} ${request.headers.get('authorization')} ${await request.text()}`);
      return Response.json({ size: 7 });
    },
  });
  async function* parts() {
    yield new TextEncoder().encode('con');
    yield new TextEncoder().encode('tent');
  }
  assert.deepEqual(await client.sandbox('box').writeFile('/a', parts()), { size: 7 });
  assert.deepEqual(seen, ['PUT http://inside/api/sandboxes/box/files?path=%2Fa Bearer hf_secret content']);
});
