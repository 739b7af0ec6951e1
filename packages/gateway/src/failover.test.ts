import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import type { Gateway } from './gateway.ts';
import { ask, chat, type Harness, openHarness, principal, question, traceIdOf, until } from './test-harness.ts';
import {
  answers,
  type Behaviour,
  breaksAfter,
  hangs,
  resets,
  sendsStream,
  sendsWhole,
  streamEvents,
  wholeBytes,
} from './test-provider.ts';

let harness: Harness;
let gateway: Gateway;
/** Its first provider may be silent for a moment only. */
let impatient: Gateway;

before(async () => {
  harness = await openHarness();
  gateway = await harness.openPair();
  impatient = await harness.openPair(150);
});

after(() => harness.close());

const cutsBody: Behaviour = (_, res) => {
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
  res.write('{"id":', () => res.destroy());
};

const sendsErrorEvent: Behaviour = (_, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.end('data: {"error":{"message":"overloaded","code":503}}\n\n');
};

const endsEarly: Behaviour = (_, res) => {
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  res.end(': keep-alive\n\n');
};

/** What the first provider does, whether the second takes over, and how the first attempt is recorded. */
const matrix: {
  name: string;
  does: Behaviour;
  taken: boolean;
  status: number | null;
  errorClass: string;
  only?: 'whole' | 'stream';
  impatient?: boolean;
}[] = [
  { name: 'a reset connection', does: resets, taken: true, status: null, errorClass: 'connection' },
  { name: '408', does: answers(408), taken: true, status: 408, errorClass: 'timeout' },
  { name: '429', does: answers(429), taken: true, status: 429, errorClass: 'rate_limited' },
  { name: '500', does: answers(500), taken: true, status: 500, errorClass: 'provider_error' },
  { name: '502', does: answers(502), taken: true, status: 502, errorClass: 'provider_error' },
  { name: '503', does: answers(503), taken: true, status: 503, errorClass: 'provider_error' },
  { name: '529', does: answers(529), taken: true, status: 529, errorClass: 'provider_error' },
  { name: 'silence', does: hangs, taken: true, status: null, errorClass: 'timeout', impatient: true },
  {
    name: 'a body that breaks off',
    does: cutsBody,
    taken: true,
    status: 200,
    errorClass: 'connection',
    only: 'whole',
  },
  {
    name: 'a stream that breaks before its first content',
    does: breaksAfter(1, 1, (res) => res.destroy()),
    taken: true,
    status: 200,
    errorClass: 'connection',
    only: 'stream',
  },
  {
    name: 'a stream that falls silent before its first content',
    does: breaksAfter(1, 1, () => undefined),
    taken: true,
    status: 200,
    errorClass: 'timeout',
    only: 'stream',
    impatient: true,
  },
  {
    name: 'an error event in place of content',
    does: sendsErrorEvent,
    taken: true,
    status: 200,
    errorClass: 'provider_error',
    only: 'stream',
  },
  {
    name: 'a stream that ends without content',
    does: endsEarly,
    taken: true,
    status: 200,
    errorClass: 'stream_broken',
    only: 'stream',
  },
  { name: '400', does: answers(400), taken: false, status: 400, errorClass: 'rejected' },
  { name: '401', does: answers(401), taken: false, status: 401, errorClass: 'refused' },
  { name: '403', does: answers(403), taken: false, status: 403, errorClass: 'refused' },
  { name: '404', does: answers(404), taken: false, status: 404, errorClass: 'rejected' },
  { name: '422', does: answers(422), taken: false, status: 422, errorClass: 'rejected' },
  {
    name: 'a redirect',
    does: answers(307, { location: 'http://127.0.0.1:1/' }),
    taken: false,
    status: 307,
    errorClass: 'provider_error',
  },
];

for (const row of matrix)
  for (const stream of [false, true]) {
    if (row.only !== undefined && (row.only === 'stream') !== stream) continue;
    const verb = row.taken ? 'moves on to the second target' : 'stays with the first target';
    test(`[R-gateway-first-byte] ${row.name} ${verb}, ${stream ? 'streaming' : 'whole'}`, async () => {
      harness.first.will(row.does);
      harness.second.will(stream ? sendsStream(1) : sendsWhole(1));
      harness.spans.length = 0;
      const response = await ask(
        row.impatient === true ? impatient : gateway,
        chat({ ...question, stream }),
        principal,
      );
      const text = await response.text();
      const calls = await harness.calls(traceIdOf(response), row.taken ? 2 : 1);
      assert.deepEqual(
        [calls[0]?.attempt, calls[0]?.provider, calls[0]?.status, calls[0]?.error_class],
        [1, 'first', row.status, row.errorClass],
      );
      await until(() => harness.spans.length > 0, 'the spans');
      assert.equal(harness.spans.length, row.taken ? 3 : 1);
      assert.equal(harness.spans[0]?.status, row.taken ? 'ok' : 'error');
      assert.equal(harness.first.received.length, 1);
      if (!row.taken) {
        assert.equal(calls.length, 1);
        assert.equal(harness.second.received.length, 0);
        assert.ok(response.status >= 400);
        return;
      }
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('x-holdfast-provider'), 'second');
      const wanted = stream
        ? streamEvents(1)
            .filter((e) => !e.includes('"choices":[]'))
            .join('')
        : wholeBytes(1);
      assert.equal(text, wanted);
      assert.match(harness.second.received[0]?.body.toString() ?? '', /"model":"gpt-4o-mini"/);
      assert.equal(harness.second.received[0]?.headers.authorization, 'Bearer sk-second');
      assert.deepEqual(
        [calls.length, calls[1]?.attempt, calls[1]?.provider, calls[1]?.error_class, calls[1]?.input_tokens],
        [2, 2, 'second', null, 54],
      );
      assert.equal(harness.spans[0]?.attributes['holdfast.attempts'], 2);
    });
  }

test('a refused connection moves on, too', async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const address = closed.address();
  const port = typeof address === 'object' ? address?.port : 0;
  await new Promise((resolve) => closed.close(resolve));
  harness.second.will(sendsWhole(1));
  const open = await harness.open({
    providers: [
      { name: 'nobody', kind: 'openai-compatible', baseUrl: `http://127.0.0.1:${port}/v1`, models: ['m'] },
      { name: 'second', kind: 'openai-compatible', baseUrl: harness.second.baseUrl, models: ['m'] },
    ],
  });
  const response = await ask(open, chat({ ...question, model: 'm' }), principal);
  assert.equal(response.status, 200);
  assert.equal(harness.second.received[0]?.headers.authorization, undefined);
  assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, 'connection');
});

test('when every target fails the answer says how each did, and whether to try again', async () => {
  harness.first.will(resets);
  harness.second.will(answers(429, { 'retry-after': '7' }));
  const response = await ask(gateway, chat(question), principal);
  assert.equal(response.status, 429);
  assert.equal(response.headers.get('retry-after'), '7');
  assert.equal(response.headers.get('x-should-retry'), 'true');
  const body: unknown = await response.json();
  assert.deepEqual(body, {
    error: {
      message: 'second limits the rate: provider says 429',
      type: 'rate_limit_error',
      param: null,
      code: 'gateway.rate_limited',
      details: {
        provider: 'second',
        providerStatus: 429,
        retryAfterMs: 7_000,
        attempts: [
          { attempt: 1, provider: 'first', model: 'gpt-4.1-mini', status: null, errorClass: 'connection' },
          { attempt: 2, provider: 'second', model: 'gpt-4o-mini', status: 429, errorClass: 'rate_limited' },
        ],
      },
    },
  });
});

for (const [name, behaviour, status, code] of [
  ['an unreachable provider', resets, 502, 'gateway.provider_unreachable'],
  ['a failing provider', answers(500), 502, 'gateway.provider_failed'],
  ['a silent provider', hangs, 504, 'gateway.provider_timeout'],
] as const)
  test(`${name} alone is reported as ${code}`, async () => {
    harness.first.will(behaviour);
    const response = await ask(impatient, chat({ ...question, model: 'first/gpt-4.1' }), principal);
    assert.equal(response.status, status);
    assert.match(await response.text(), new RegExp(`"code":"${code}"`));
    assert.equal((await harness.calls(traceIdOf(response))).length, 1);
  });
