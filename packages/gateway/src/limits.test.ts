import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Gateway } from './gateway.ts';
import { ask, chat, type Harness, openHarness, principal, question, traceIdOf, until } from './test-harness.ts';
import { type Behaviour, hangs, sendsStream, sendsWhole } from './test-provider.ts';

let harness: Harness;
let gateway: Gateway;

before(async () => {
  harness = await openHarness();
  gateway = await harness.openPair(30_000, {
    maxRequestBytes: 10_000,
    maxResponseBytes: 20_000,
    maxEventBytes: 5_000,
    maxCalls: 3,
  });
});

after(() => harness.close());

const codeIn = (text: string): string => /"code":"([a-z_.]+)"/.exec(text)?.[1] ?? text;

test('a body that is too long is refused, with and without a stated length', async () => {
  harness.first.will(sendsWhole(1));
  const long = await ask(gateway, chat({ ...question, filler: 'x'.repeat(10_000) }), principal);
  assert.deepEqual([long.status, codeIn(await long.text())], [413, 'request.too_large']);
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(new Uint8Array(1_000).fill(0x20));
    },
  });
  const init = { method: 'POST', body: endless, duplex: 'half' as const };
  const refused = await ask(gateway, new Request('http://x/v1/chat/completions', init), principal);
  assert.equal(refused.status, 413);
  assert.equal(harness.first.received.length, 0);
});

test('bodies that make no sense are refused with the field at fault', async () => {
  harness.first.will(sendsWhole(1));
  const bodies: [string, RegExp][] = [
    ['', /not valid JSON/],
    ['{', /not valid JSON/],
    ['[]', /The body/],
    ['null', /The body/],
    ['{"messages":[]}', /model/],
    ['{"model":"","messages":[]}', /model/],
    ['{"model":5,"messages":[]}', /model/],
    [`{"model":"${'m'.repeat(513)}","messages":[]}`, /model/],
    ['{"model":"a\\u001b[2J","messages":[]}', /model/],
    ['{"model":"smart"}', /messages/],
    ['{"model":"smart","messages":{}}', /messages/],
    ['{"model":"smart","messages":[1]}', /messages/],
    ['{"model":"smart","messages":[],"stream":"yes"}', /stream/],
    ['{"model":"smart","messages":[],"stream_options":[]}', /stream_options/],
    ['{"model":"smart","messages":[],"model":"other"}', /model is given twice/],
    ['{"model":"smart","messages":[],"\\u006dodel":"other"}', /model is given twice/],
    ['['.repeat(9_000), /not valid JSON/],
  ];
  for (const [body, pattern] of bodies) {
    const response = await ask(gateway, chat(body), principal);
    const text = await response.text();
    assert.deepEqual([response.status, codeIn(text)], [400, 'request.invalid'], body.slice(0, 60));
    assert.match(text, pattern);
  }
  assert.equal(harness.first.received.length, 0);
});

test('bytes that are no UTF-8 and compressed bodies are refused', async () => {
  const bad = Uint8Array.from([0x7b, 0xff, 0x7d]);
  const bytes = new Request('http://x/v1/chat/completions', { method: 'POST', body: bad });
  assert.equal((await ask(gateway, bytes, principal)).status, 400);
  const zipped = await ask(gateway, chat(question, { headers: { 'content-encoding': 'gzip' } }), principal);
  assert.equal(zipped.status, 400);
});

const floods =
  (type: string, piece: string): Behaviour =>
  async (request, res) => {
    res.writeHead(200, { 'content-type': type });
    let open = true;
    void request.closed.then(() => {
      open = false;
    });
    while (open) await new Promise<void>((resolve) => res.write(piece, () => setImmediate(resolve)));
  };

test('an endless whole answer is cut off, and so is its connection', async () => {
  harness.first.will(floods('application/json', ' '.repeat(1_000)));
  const response = await ask(gateway, chat(question), principal);
  assert.deepEqual([response.status, codeIn(await response.text())], [502, 'gateway.response_too_large']);
  await harness.first.received[0]?.closed;
  assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, 'response_too_large');
});

test('an endless stream ends with an error event', async () => {
  const event = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x'.repeat(500) } }] })}\n\n`;
  harness.first.will(floods('text/event-stream', event));
  const response = await ask(gateway, chat({ ...question, stream: true }), principal);
  const text = await response.text();
  assert.ok(text.length < 40_000);
  assert.equal(codeIn(text), 'gateway.response_too_large');
  await harness.first.received[0]?.closed;
});

test('an endless event is cut off', async () => {
  harness.first.will(floods('text/event-stream', 'data: x'.repeat(100)));
  const response = await ask(gateway, chat({ ...question, stream: true }), principal);
  assert.equal(codeIn(await response.text()), 'gateway.response_too_large');
  await harness.first.received[0]?.closed;
});

test('more calls than allowed at the same time are refused, and the place is free again afterwards', async () => {
  harness.first.will(hangs);
  const leave = new AbortController();
  const held = [1, 2, 3].map(() =>
    ask(gateway, chat(question, { signal: leave.signal }), principal).catch((error: unknown) => error),
  );
  await until(() => harness.first.received.length === 3, 'three calls are under way');
  const refused = await ask(gateway, chat(question), principal);
  assert.deepEqual([refused.status, codeIn(await refused.text())], [503, 'gateway.overloaded']);
  leave.abort();
  await Promise.all(held);
  await until(() => gateway.activeCalls === 0, 'the calls end');
  harness.first.will(sendsStream(1));
  for (let i = 0; i < 6; i += 1) {
    const response = await ask(gateway, chat({ ...question, stream: true }), principal);
    assert.equal(response.status, 200);
    await response.text();
  }
});
