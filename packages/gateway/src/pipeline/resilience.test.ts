import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ask, chat, type Harness, openHarness, question, traceIdOf } from '../test-harness.ts';
import { answers, type Behaviour, hangs, resets, sendsStream, sendsWhole, streamEvents } from '../test-provider.ts';

let harness: Harness;

before(async () => {
  harness = await openHarness();
});
after(() => harness.close());

const providers = () => [
  { name: 'first', kind: 'openai-compatible' as const, prices: 'openai', baseUrl: harness.first.baseUrl },
  { name: 'second', kind: 'openai-compatible' as const, prices: 'openai', baseUrl: harness.second.baseUrl },
];
const first = { provider: 'first', model: 'gpt-4.1-mini' };
const second = { provider: 'second', model: 'gpt-4o-mini' };
const open = (route: object, more: object = {}) =>
  harness.open({ providers: providers(), routes: [{ name: 'smart', targets: [first, second], ...route }] }, {}, more);

test('targets are tried again in rounds, with waits in between', async () => {
  const gateway = await open({ retries: 2 }, { random: () => 0 });
  harness.first.will(answers(500), answers(503), sendsWhole(1));
  harness.second.will(resets, answers(502));
  const response = await ask(gateway, chat(question));
  assert.equal(response.status, 200);
  const calls = await harness.calls(traceIdOf(response), 5);
  assert.deepEqual(
    calls.map((c) => [c.provider, c.error_class]),
    [
      ['first', 'provider_error'],
      ['second', 'connection'],
      ['first', 'provider_error'],
      ['second', 'provider_error'],
      ['first', null],
    ],
  );
});

test('[R-gateway-breaker] a target whose breaker is open is passed over, and its state shows', async () => {
  const gateway = await open({ retries: 0 }, { breaker: { failuresToOpen: 2, firstOpenMs: 600_000 } });
  harness.first.will(answers(500));
  harness.second.will(sendsWhole(1));
  for (let i = 0; i < 4; i += 1) assert.equal((await ask(gateway, chat(question))).status, 200);
  assert.deepEqual([harness.first.received.length, harness.second.received.length], [2, 4]);
  const [report, other] = await gateway.health('ws_1');
  assert.deepEqual([report?.route, report?.provider, report?.state, report?.failed], ['smart', 'first', 'open', 2]);
  assert.deepEqual([other?.state, other?.succeeded], ['well', 4]);
  const alone = await ask(gateway, chat({ ...question, model: 'first/gpt-4.1-mini' }));
  assert.equal(alone.status, 503);
  assert.ok(Number(alone.headers.get('retry-after')) > 200);
  assert.match(await alone.text(), /"code":"gateway.no_target_left"/);
  assert.equal(harness.first.received.length, 2);
});

test('a target that asks to be left alone is, and when all do the caller is told for how long', async () => {
  const gateway = await open({ retries: 3 });
  harness.first.will(answers(429, { 'retry-after': '60' }));
  harness.second.will(sendsWhole(1), answers(429, { 'retry-after': '30' }));
  assert.equal((await ask(gateway, chat(question))).status, 200);
  const limited = await ask(gateway, chat(question));
  assert.deepEqual([limited.status, limited.headers.get('retry-after')], [429, '30']);
  const refused = await ask(gateway, chat(question));
  assert.equal(refused.status, 429);
  assert.ok(Number(refused.headers.get('retry-after')) <= 30);
  assert.deepEqual([harness.first.received.length, harness.second.received.length], [1, 2]);
});

test('one deadline holds for all tries together', async () => {
  const gateway = await open({ deadlineMs: 150, retries: 5 });
  harness.first.will(answers(500));
  harness.second.will(hangs);
  const response = await ask(gateway, chat(question));
  assert.equal(response.status, 504);
  assert.match(await response.text(), /There was no answer within 150 ms/);
  await harness.second.received[0]?.closed;
  const calls = await harness.calls(traceIdOf(response), 2);
  assert.deepEqual(
    calls.map((c) => c.error_class),
    ['provider_error', 'timeout'],
  );
});

const says =
  (status: number, type: string, body: string): Behaviour =>
  (_, res) => {
    res.writeHead(status, { 'content-type': type });
    res.end(body);
  };

for (const [name, behaviour] of [
  ['a page of HTML', says(200, 'text/html', '<h1>Welcome to nginx!</h1>')],
  ['broken JSON', says(200, 'application/json', '{"id":')],
  ['a list', says(200, 'application/json', '[]')],
  ['nothing', says(200, 'application/json', '')],
] as const)
  test(`an answer that is ${name} is none, and the next target is asked`, async () => {
    const gateway = await open({ retries: 0 });
    harness.first.will(behaviour);
    harness.second.will(sendsWhole(1));
    const response = await ask(gateway, chat(question));
    assert.deepEqual([response.status, response.headers.get('x-holdfast-provider')], [200, 'second']);
    const [call] = await harness.calls(traceIdOf(response), 2);
    assert.deepEqual([call?.status, call?.error_class, call?.cost_micro_usd], [200, 'provider_error', null]);
  });

test('events that are no JSON pass unread, and the stream still ends as it should', async () => {
  const gateway = await open({});
  const events = streamEvents(1);
  const text = [...events.slice(0, 3), 'data: {"broken\n\n', ': comment\n\n', ...events.slice(3)].join('');
  harness.first.will(says(200, 'text/event-stream', text));
  const body = { ...question, stream: true, stream_options: { include_usage: true } };
  const response = await ask(gateway, chat(body));
  assert.equal(await response.text(), text);
});

test('a variant is drawn by weight, and is in the ledger and the answer', async () => {
  const variants = [
    { name: 'control', weight: 1, targets: [first] },
    { name: 'trial', weight: 3, targets: [second] },
  ];
  const gateway = await open({ targets: undefined, variants }, { random: () => 0.5 });
  harness.second.will(sendsWhole(1));
  const response = await ask(gateway, chat(question));
  assert.equal(response.headers.get('holdfast-variant'), 'trial');
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([call?.route, call?.variant, call?.provider], ['smart', 'trial', 'second']);
});

test('[R-gateway-sticky] the header, or how a conversation began, decides its target', async () => {
  const gateway = await open({ strategy: 'weight', sticky: true });
  harness.first.will(sendsWhole(1));
  harness.second.will(sendsWhole(1));
  const turn = (n: number) => [
    { role: 'user', content: `conversation ${n}` },
    { role: 'assistant', content: 'yes' },
  ];
  for (let n = 0; n < 8; n += 1) {
    const taken = new Set<string | null>();
    for (const messages of [turn(n), [...turn(n), { role: 'user', content: 'and?' }], [...turn(n), ...turn(9)]]) {
      const response = await ask(gateway, chat({ model: 'smart', messages }));
      taken.add(response.headers.get('x-holdfast-provider'));
      await response.text();
    }
    assert.equal(taken.size, 1);
    const named = new Set<string | null>();
    for (const content of ['a', 'b', 'c']) {
      const headers = { 'holdfast-conversation': `c${n}` };
      const response = await ask(gateway, chat({ model: 'smart', messages: [{ role: 'user', content }] }, { headers }));
      named.add(response.headers.get('x-holdfast-provider'));
      await response.text();
    }
    assert.equal(named.size, 1);
  }
  assert.ok(harness.first.received.length > 0 && harness.second.received.length > 0);
});

test('a call that went through too many gateways is refused', async () => {
  const gateway = await harness.open({});
  const server = await ask(gateway, chat(question, { headers: { 'holdfast-hops': '4' } }));
  assert.equal(server.status, 508);
  assert.match(await server.text(), /"code":"gateway.route_loop"/);
});

test('[R-gateway-reload] a reload reaches the next call, and no stream under way notices', async () => {
  const gateway = await open({ targets: [first] });
  let go = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    go = resolve;
  });
  harness.first.will(async (_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const events = streamEvents(1);
    for (const event of events.slice(0, 4)) res.write(event);
    await released;
    res.end(events.slice(4).join(''));
  });
  harness.second.will(sendsStream(1));
  const stream = { ...question, stream: true, stream_options: { include_usage: true } };
  const before = await ask(gateway, chat(stream));
  const { gatewayConfiguration } = await import('../configuration.ts');
  const [, other] = providers();
  await gateway.reload(
    gatewayConfiguration.parse({ providers: [other], routes: [{ name: 'smart', targets: [second] }] }),
  );
  const next = await ask(gateway, chat(stream));
  assert.equal(next.headers.get('x-holdfast-provider'), 'second');
  await next.text();
  go();
  assert.equal(await before.text(), streamEvents(1).join(''));
  await assert.rejects(gateway.reload({ providers: [broken], routes: [] }), /recording/);
  assert.equal((await ask(gateway, chat(stream))).headers.get('x-holdfast-provider'), 'second');
});

const broken = { name: 'r', kind: 'recorded', baseUrl: '/nowhere/at/all', pace: 1, timeoutMs: 1_000 } as const;
