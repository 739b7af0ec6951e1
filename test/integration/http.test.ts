import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { allRoutes, problem } from '@holdfast/contract';
import { ManualClock, silentLog } from '@holdfast/core';
import { openDatabase } from '@holdfast/db';
import { openIdentity } from '@holdfast/identity';
import { z } from 'zod';
import { call } from './setup/call.ts';
import { eventually } from './setup/eventually.ts';
import { startTestServer, type TestServer } from './setup/test-server.ts';

let server: TestServer;
before(async () => {
  server = await startTestServer();
});
after(() => server[Symbol.asyncDispose]());

const headers = (more: Readonly<Record<string, string>> = {}): Record<string, string> => ({
  authorization: `Bearer ${server.ownerKey}`,
  'content-type': 'application/json',
  ...more,
});

const post = (path: string, body: string | Uint8Array | ReadableStream, more?: Readonly<Record<string, string>>) =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: headers(more),
    body,
    ...(body instanceof ReadableStream ? { duplex: 'half' as const } : {}),
  });

const expectProblem = async (answer: Response, status: number, code: string): Promise<z.output<typeof problem>> => {
  const text = await answer.text();
  assert.equal(answer.status, status, text);
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
  const document = problem.parse(JSON.parse(text));
  assert.equal(document.code, code);
  assert.equal(document.status, status);
  assert.equal(document.type, `urn:holdfast:error:${code}`);
  assert.equal(document.requestId, answer.headers.get('x-request-id'));
  return document;
};

/** Sends bytes as they are and gives all that comes back. */
const raw = async (text: string): Promise<string> => {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
  });
  socket.on('error', () => undefined);
  socket.write(text);
  await new Promise((resolve) => {
    socket.once('close', resolve);
  });
  return answer;
};

test('[R-input-bounded] bodies that are no JSON', async () => {
  const bodies = ['{', 'null', '[]', '"text"', '12', '{"name": undefined}', new Uint8Array([0x22, 0xff, 0xfe, 0x22])];
  for (const body of bodies) await expectProblem(await post('/api/keys', body), 400, 'request.invalid');
});

test('[R-input-bounded] fields that are wrong are named', async () => {
  const bodies: readonly (readonly [unknown, string])[] = [
    [{}, 'body.name'],
    [{ name: '' }, 'body.name'],
    [{ name: 'x'.repeat(10_000) }, 'body.name'],
    [{ name: 'new\nline' }, 'body.name'],
    [{ name: 'nul\0' }, 'body.name'],
    [{ name: 'x', role: 'root' }, 'body.role'],
  ];
  for (const [body, path] of bodies) {
    const { details } = await expectProblem(await post('/api/keys', JSON.stringify(body)), 400, 'request.invalid');
    const { issues } = z.object({ issues: z.array(z.object({ path: z.string() })) }).parse(details);
    assert.deepEqual([...new Set(issues.map((issue) => issue.path))], [path]);
  }
});

test('[R-input-bounded] limits that are negative, broken or enormous', async () => {
  const create = (body: unknown) => post('/api/sandboxes', JSON.stringify(body));
  for (const value of [-1, 1.5, 1e30, '512', null, Number.NaN, true])
    await expectProblem(await create({ idleTimeoutMs: value }), 400, 'request.invalid');
  for (const memoryMib of [0, 513, -512, 1e9]) await expectProblem(await create({ memoryMib }), 400, 'request.invalid');
  for (const name of ['', 'a/b', '../a', 'A', 'x'.repeat(10_000), 'a\u0000', 'a\nb', '-a'])
    await expectProblem(await create({ name }), 400, 'request.invalid');
  for (const limit of ['0', '-1', 'NaN', '1e99', '100000', ''])
    await expectProblem(
      await fetch(`${server.url}/api/keys?limit=${limit}`, { headers: headers() }),
      400,
      'request.invalid',
    );
});

test('[R-input-bounded] a body that is too long, told or not, is refused', async () => {
  const long = JSON.stringify({ name: 'x'.repeat(2_000_000) });
  await expectProblem(await post('/api/keys', long), 413, 'request.too_large');
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(65_536).fill(32)),
  });
  const answer = await post('/api/keys', endless).catch(() => null);
  // The client may see the answer, or the connection that was cut while it was still sending.
  if (answer !== null) await expectProblem(answer, 413, 'request.too_large');
  for (let i = 0; i < 20; i++) {
    // One that ends soon gets its answer each time, however much of it was on its way when it was refused.
    const sent = request(`${server.url}/api/keys`, { method: 'POST', headers: headers() });
    sent.write(new Uint8Array(3_000_000).fill(32));
    sent.end();
    const [refusal]: IncomingMessage[] = await once(sent, 'response');
    assert.equal(refusal?.statusCode, 413);
    refusal.resume();
    await once(refusal, 'end');
  }
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
});

test('[R-input-bounded] addresses that are odd never give an unexpected error', async () => {
  const paths = [
    '/api/sandboxes/%00',
    '/api/sandboxes/%ff',
    '/api/sandboxes/%',
    '/api/sandboxes/..%2f..%2fkeys',
    '/api/sandboxes/%2e%2e',
    `/api/sandboxes/${'x'.repeat(5_000)}`,
    '/api/sandboxes/a%0d%0ab',
    '/api/sandboxes?cursor=%00',
    '/api/sandboxes?cursor=garbage',
    '/api/keys?cursor=%27%3b--',
    '/api/traces/%F0%9F%92%A9',
    '/api/traces?cursor=%00',
    '/api/workspaces/%00',
  ];
  for (const path of paths) {
    const answer = await fetch(`${server.url}${path}`, { headers: headers() });
    assert.ok(answer.status < 500, `${path}: ${answer.status} ${await answer.text()}`);
  }
});

test('[R-input-bounded] what is no HTTP does no harm', async () => {
  assert.match(await raw('\x16\x03\x01\x00\x00\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(await raw(`GET / HTTP/1.1\r\nhost: x\r\nlong: ${'x'.repeat(100_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
  assert.match(
    await raw('GET /api/whoami HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'),
    /^HTTP\/1\.1 404 /,
  );
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
});

test('[R-problem-details] unknown routes and methods', async () => {
  await expectProblem(await fetch(`${server.url}/api/nothing`), 404, 'request.not_found');
  await expectProblem(await fetch(`${server.url}/`), 404, 'request.not_found');
  const answer = await fetch(`${server.url}/api/keys`, { method: 'PATCH' });
  assert.deepEqual((answer.headers.get('allow') ?? '').split(', ').sort(), ['GET', 'POST']);
  await expectProblem(answer, 405, 'request.method_not_allowed');
  const shell = await fetch(`${server.url}/api/sandboxes/x/shell`, { headers: headers() });
  await expectProblem(shell, 426, 'request.upgrade_required');
});

test('[R-problem-details] model routes answer errors as the clients of model APIs expect them', async () => {
  for (const path of ['/v1/models', '/v1/nothing']) {
    const answer = await fetch(`${server.url}${path}`);
    const { error } = z
      .object({ error: z.object({ message: z.string(), code: z.string() }) })
      .parse(await answer.json());
    assert.ok(answer.status === 401 || answer.status === 404, String(answer.status));
    assert.ok(error.message.length > 0);
  }
});

test('a request id of the caller comes back when it is harmless', async () => {
  const ask = async (id: string) =>
    (await fetch(`${server.url}/api/whoami`, { headers: headers({ 'x-request-id': id }) })).headers.get('x-request-id');
  assert.equal(await ask('my-request-1'), 'my-request-1');
  assert.match((await ask('"><script>')) ?? '', /^req_/);
});

test('[R-closed-by-default] keys are taken from both headers, and only whole', async () => {
  const ask = (given: Record<string, string>) => fetch(`${server.url}/api/whoami`, { headers: given });
  assert.equal((await ask({ 'x-api-key': server.ownerKey })).status, 200);
  assert.equal((await ask({ authorization: `bearer ${server.ownerKey}` })).status, 200);
  for (const authorization of [
    'Bearer',
    'Bearer ',
    `Basic ${server.ownerKey}`,
    `Bearer ${server.ownerKey}x`,
    `Bearer ${server.ownerKey} x`,
  ])
    await expectProblem(await ask({ authorization }), 401, 'auth.invalid');
  assert.equal((await fetch(`${server.url}/metrics`)).status, 401);
});

test('[R-revoked-at-once] a revoked key stops at once, here and in other processes', async () => {
  const created = await call(server.url, server.ownerKey, 'createKey', { body: { name: 'short', role: 'viewer' } });
  const { id, key } = z.object({ id: z.string(), key: z.string() }).parse(JSON.parse(created.text));
  assert.equal((await call(server.url, key, 'whoami')).status, 200);
  const url = await server.server.layers.database.url();
  await using stack = new AsyncDisposableStack();
  const database = await openDatabase({ url });
  stack.defer(() => database.close());
  // A clock that stands still: what it has in memory never gets old by itself.
  const elsewhere = await openIdentity({ database, clock: new ManualClock(), log: silentLog });
  stack.defer(() => elsewhere.close());
  assert.equal((await elsewhere.authenticate(key)).keyId, id);
  assert.equal((await call(server.url, server.ownerKey, 'revokeKey', { params: { id } })).status, 204);
  assert.equal((await call(server.url, key, 'whoami')).code, 'auth.invalid');
  const refused = () =>
    elsewhere.authenticate(key).then(
      () => false,
      () => true,
    );
  await eventually(refused, 'the other process has heard of it');
  assert.equal((await call(server.url, server.ownerKey, 'revokeKey', { params: { id } })).code, 'resource.not_found');
});

test('[R-secrets-stay-secret] the text of a key is in one answer and nowhere else', async () => {
  const created = await call(server.url, server.ownerKey, 'createKey', { body: { name: 'secret', role: 'viewer' } });
  const { key } = z.object({ key: z.string() }).parse(JSON.parse(created.text));
  const secret = key.slice(-32);
  assert.ok(!(await call(server.url, server.ownerKey, 'listKeys')).text.includes(secret));
  const rows = await server.server.layers.database.kysely.selectFrom('api_keys').selectAll().execute();
  assert.ok(!JSON.stringify(rows).includes(secret));
});

test('health, readiness, metrics and the description of the API', async () => {
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  assert.equal((await fetch(`${server.url}/readyz`)).status, 200);
  const { paths } = z
    .object({ paths: z.record(z.string(), z.unknown()) })
    .parse(await (await fetch(`${server.url}/api/openapi.json`)).json());
  for (const route of Object.values(allRoutes)) assert.ok(route.path in paths, route.path);
  const metrics = await (await fetch(`${server.url}/metrics`, { headers: headers() })).text();
  assert.match(metrics, /^holdfast_http_requests_total\{method="GET",route="\/api\/whoami",status="200"\} \d+$/m);
  assert.match(metrics, /^holdfast_http_request_seconds_bucket\{method="GET",route="\/api\/whoami",le="\+Inf"\} \d+$/m);
});

test('[R-closed-by-default] a preview is closed without a key, and open to nobody who only reads', async () => {
  const host = `8080-some-box.localhost:${new URL(server.url).port}`;
  const ask = (more: string) => raw(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${more}\r\n`);
  assert.match(await ask(''), /^HTTP\/1\.1 401 [\s\S]*auth\.missing/);
  assert.match(await ask('cookie: hf_key=nonsense\r\n'), /^HTTP\/1\.1 401 [\s\S]*auth\.invalid/);
  const created = await call(server.url, server.ownerKey, 'createKey', { body: { name: 'view', role: 'viewer' } });
  const { key } = z.object({ key: z.string() }).parse(JSON.parse(created.text));
  assert.match(await ask(`authorization: Bearer ${key}\r\n`), /^HTTP\/1\.1 403 /);
  assert.match(await ask(`cookie: a=b; hf_key=${server.ownerKey}\r\n`), /^HTTP\/1\.1 404 [\s\S]*resource\.not_found/);
  const visit = await raw(
    `GET /page?x=1&hf_key=${server.ownerKey} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`,
  );
  assert.match(visit, /^HTTP\/1\.1 303 [\s\S]*location: \/page\?x=1\r\n/i);
  assert.match(visit, /set-cookie: hf_key=[^;]+; Path=\/; HttpOnly; SameSite=Lax/i);
});
