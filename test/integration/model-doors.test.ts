import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeHome } from './setup/test-home.ts';
import { startTestServer, type TestServer } from './setup/test-server.ts';

const recordings = join(import.meta.dirname, '../../packages/gateway/recorded');
const recorded = { name: 'recorded', kind: 'recorded', baseUrl: recordings, pace: 0 };
const model = 'recorded/count-files';
const user = { role: 'user', content: 'How many files?' };

let server: TestServer;
let provider: Server;
const heard: string[] = [];

before(async () => {
  provider = createServer((request, response) => {
    heard.push(String(request.headers.authorization));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ model: 'm', choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } }));
  }).listen(0, '127.0.0.1');
  await once(provider, 'listening');
  server = await startTestServer(await makeHome({ providers: [recorded] }));
});
after(async () => {
  await server[Symbol.asyncDispose]();
  provider.close();
});

const post = (path: string, body: object, headers: Record<string, string>): Promise<Response> =>
  fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

test('one recording answers at every door, each with the key where its clients put it', async () => {
  const bearer = { authorization: `Bearer ${server.ownerKey}` };
  const openai = await post('/v1/chat/completions', { model, messages: [user] }, bearer);
  assert.equal(Object(await openai.json()).choices[0].message.tool_calls[0].function.name, 'exec');
  const responses = await post('/v1/responses', { model, input: 'How many files?' }, bearer);
  assert.equal(Object(await responses.json()).output[0].type, 'function_call');
  const body = { model, max_tokens: 10, messages: [user] };
  const anthropic = await post('/v1/messages', body, { 'x-api-key': server.ownerKey });
  assert.equal(Object(await anthropic.json()).content[0].type, 'tool_use');
  const contents = [{ role: 'user', parts: [{ text: 'How many files?' }] }];
  for (const [query, headers] of [
    ['', { 'x-goog-api-key': server.ownerKey }],
    [`?key=${server.ownerKey}`, {}],
  ] as const) {
    const gemini = await post(`/v1beta/models/${model}:generateContent${query}`, { contents }, headers);
    assert.equal(Object(await gemini.json()).candidates[0].content.parts[0].functionCall.name, 'exec');
    assert.equal(gemini.headers.get('x-holdfast-recorded'), 'true');
  }
});

test('[R-gateway-native-errors] a bad key and an unknown model are told in the form of each door', async () => {
  const wrong = { 'x-api-key': 'hf_wrong' };
  const anthropic = await post('/v1/messages', { model, messages: [] }, wrong);
  assert.deepEqual([anthropic.status, Object(await anthropic.json()).error.type], [401, 'authentication_error']);
  const gemini = await post(`/v1beta/models/x:generateContent`, { contents: [] }, wrong);
  assert.deepEqual([gemini.status, Object(await gemini.json()).error.status], [401, 'UNAUTHENTICATED']);
  const openai = await post('/v1/embeddings', { model, input: 'x' }, wrong);
  assert.deepEqual([openai.status, Object(await openai.json()).error.type], [401, 'authentication_error']);
  const key = { 'x-api-key': server.ownerKey };
  const unknown = await post('/v1/messages', { model: 'recorded/nothing', max_tokens: 1, messages: [user] }, key);
  assert.deepEqual([unknown.status, Object(await unknown.json()).error.type], [404, 'not_found_error']);
  const get = await fetch(`${server.url}/v1beta/models/x:generateContent`, { headers: key });
  assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST']);
});

test('a key in the address is a key for Gemini only', async () => {
  const answer = await post(`/v1/chat/completions?key=${server.ownerKey}`, { model, messages: [user] }, {});
  assert.equal(answer.status, 401);
});

test('[R-gateway-reload] a change of the configuration file reaches the running server, and a broken one changes nothing', async () => {
  const file = join(server.home.path, 'config.json');
  const before = Object(JSON.parse(await readFile(file, 'utf8')));
  const address = provider.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const added = { name: 'added', kind: 'openai', baseUrl: `http://127.0.0.1:${port}/v1`, apiKey: 'sk-added' };
  const bearer = { authorization: `Bearer ${server.ownerKey}` };
  const ask = async (): Promise<number> =>
    (await post('/v1/chat/completions', { model: 'added/m', messages: [user] }, bearer)).status;
  assert.equal(await ask(), 404);
  await writeFile(file, JSON.stringify({ ...before, providers: [recorded, added] }));
  const deadline = performance.now() + 30_000;
  while ((await ask()) !== 200) {
    assert.ok(performance.now() < deadline, 'the new provider never came');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(heard.at(-1), 'Bearer sk-added');
  await writeFile(file, '{ not JSON');
  assert.equal(await ask(), 200);
});

test('[R-gateway-keys-sealed] the master key lies in the data folder, for its owner only', async () => {
  const path = join(server.home.path, 'master.key');
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal(Buffer.from((await readFile(path, 'utf8')).trim(), 'base64').length, 32);
});

test('a server that stops lets streams end for a while, and tells those that go on that it has closed', async () => {
  const event = `data: ${JSON.stringify({ model: 'm', choices: [{ index: 0, delta: { content: 'x' } }] })}\n\n`;
  const end = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`;
  let finish = (): void => undefined;
  const streaming = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(event);
    if (request.headers['x-client-request-id'] === 'ends') finish = () => void response.end(end);
  }).listen(0, '127.0.0.1');
  await once(streaming, 'listening');
  const address = streaming.address();
  const baseUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/v1`;
  const providers = [{ name: 'slow', kind: 'openai', baseUrl, apiKey: 'sk' }];
  const stopping = await startTestServer(await makeHome({ providers, shutdownSeconds: 1 }));
  const ask = (id: string) =>
    fetch(`${stopping.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stopping.ownerKey}`, 'x-client-request-id': id },
      body: JSON.stringify({ model: 'slow/m', messages: [user], stream: true }),
    });
  const [ends, stays] = [await ask('ends'), await ask('stays')];
  const stopped = stopping[Symbol.asyncDispose]();
  finish();
  assert.equal(await ends.text(), event + end);
  assert.match(await stays.text(), /"code":"gateway.closed"/);
  await stopped;
  streaming.closeAllConnections();
  streaming.close();
});
