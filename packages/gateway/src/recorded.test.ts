import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type HoldfastError, ManualClock } from '@holdfast/core';
import OpenAI from 'openai';
import type { Gateway } from './gateway.ts';
import { providerConfiguration } from './providers/provider-configuration.ts';
import { recordedProvider } from './providers/recorded-provider.ts';
import { loadRecordings } from './providers/recording.ts';
import { ask, chat, type Harness, openHarness, principal, serve, traceIdOf, until } from './test-harness.ts';
import { streamEvents, wholeBytes } from './test-provider.ts';

const baseUrl = new URL('../recorded/', import.meta.url).href;
let harness: Harness;
let gateway: Gateway;

before(async () => {
  harness = await openHarness();
  gateway = await harness.open({
    providers: [{ name: 'recorded', kind: 'recorded', baseUrl, pace: 0 }],
    routes: [{ name: 'demo', targets: [{ provider: 'recorded', model: 'count-files' }] }],
  });
});

after(() => harness.close());

const user = { role: 'user', content: 'How many files?' };
const turn = [
  { role: 'assistant', content: null },
  { role: 'tool', content: 'any live output' },
];
const model = 'recorded/count-files';

const errorCodeOf = async (response: Response): Promise<string> => {
  const body: unknown = await response.json();
  return String(Reflect.get(Object(Reflect.get(Object(body), 'error')), 'code'));
};

test('a recorded answer says so: in a header, in the ledger and on the span', async () => {
  harness.spans.length = 0;
  const response = await ask(gateway, chat({ model, messages: [user] }), principal);
  assert.equal(response.status, 200);
  assert.equal(await response.text(), wholeBytes(0));
  assert.equal(response.headers.get('x-holdfast-recorded'), 'true');
  assert.equal(response.headers.get('x-holdfast-provider'), 'recorded');
  const [call] = await harness.calls(traceIdOf(response));
  // Nothing was spent; the span shows what it once cost: 82 tokens at $0.40 and 15 at $1.60 a million, 56.8 millionths.
  assert.deepEqual(
    [call?.provider, call?.recorded, call?.input_tokens, call?.output_tokens, call?.cost_micro_usd],
    ['recorded', true, 82, 15, 0],
  );
  await until(() => harness.spans.length > 0, 'the span');
  const [span] = harness.spans;
  assert.equal(span?.costMicroUsd, 57);
  assert.deepEqual([span?.attributes.recorded, span?.attributes['gen_ai.provider.name']], [true, 'recorded']);
});

test('the turn of the conversation picks the reply, whatever the tools answered', async () => {
  const whole = await ask(gateway, chat({ model, messages: [user, ...turn] }), principal);
  assert.equal(await whole.text(), wholeBytes(1));
  const stream = await ask(gateway, chat({ model: 'demo', messages: [user, ...turn], stream: true }), principal);
  assert.equal(stream.headers.get('x-request-id'), 'req_recorded0002');
  const expected = streamEvents(1).filter((e) => !e.includes('"choices":[]'));
  assert.equal(await stream.text(), expected.join(''));
});

test('the openai client runs through a recording with streamed tool calls', async (t) => {
  const { url, close } = await serve(gateway);
  t.after(close);
  const client = new OpenAI({ baseURL: url, apiKey: 'hf_key', maxRetries: 2 });
  const first = client.chat.completions.stream({ model, messages: [{ role: 'user', content: 'How many files?' }] });
  const message = await first.finalMessage();
  const call = message.tool_calls?.[0];
  assert.ok(call?.type === 'function');
  assert.equal(call.function.arguments, '{"shell":"ls /repo | wc -l"}');
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'user', content: 'How many files?' },
    message,
    { role: 'tool', tool_call_id: call.id, content: '7' },
  ];
  const second = await client.chat.completions.stream({ model, messages }).finalContent();
  assert.match(second ?? '', /^The repository/);
  messages.push({ role: 'assistant', content: second }, { role: 'user', content: 'And now?' });
  await assert.rejects(client.chat.completions.create({ model, messages }), (error) => {
    assert.ok(error instanceof OpenAI.APIError);
    assert.deepEqual([error.status, error.code], [409, 'gateway.recording_exhausted']);
    assert.match(error.message, /it has 2 replies, and this asks for number 3/);
    return true;
  });
});

test('a conversation that left the recording is recorded as such and never moves on', async () => {
  const response = await ask(gateway, chat({ model, messages: [user, ...turn, ...turn] }), principal);
  assert.equal(await errorCodeOf(response), 'gateway.recording_exhausted');
  assert.equal(response.headers.get('x-should-retry'), 'false');
  const calls = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    calls.map((c) => c.error_class),
    ['recording_exhausted'],
  );
});

test('a conversation that stands elsewhere than the recording is refused', async () => {
  const [assistant] = turn;
  const response = await ask(gateway, chat({ model, messages: [user, assistant] }), principal);
  assert.equal(await errorCodeOf(response), 'gateway.recording_exhausted');
});

test('an unknown recording is an unknown model', async () => {
  const response = await ask(gateway, chat({ model: 'recorded/nothing', messages: [user] }), principal);
  assert.deepEqual([response.status, await errorCodeOf(response)], [404, 'gateway.model_not_found']);
});

test('recordings are listed as models', async () => {
  const response = await ask(gateway, new Request('http://x/v1/models'), principal);
  assert.match(await response.text(), /"id":"recorded\/count-files"/);
});

test('a replay keeps the recorded pace', async () => {
  const clock = new ManualClock();
  const config = providerConfiguration.parse({ name: 'recorded', kind: 'recorded', baseUrl, pace: 0.5 });
  assert.ok(config.kind === 'recorded');
  const provider = await recordedProvider(config, clock);
  const answer = await provider.send(
    {
      ...{ endpoint: 'chat.completions', format: 'openai-chat', model: 'count-files', stream: true, headers: {} },
      ...{ contentType: 'application/json', body: JSON.stringify({ model, stream: true, messages: [user] }) },
    },
    new AbortController().signal,
  );
  let arrived = false;
  const first = answer.body.read().then(() => {
    arrived = true;
  });
  clock.advance(89);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(arrived, false);
  clock.advance(1);
  await first;
  assert.equal(arrived, true);
});

const good = {
  format: 'holdfast-recording/1',
  name: 'x',
  description: 'd',
  provenance: 'by hand',
  replies: [{ whole: { body: {} } }],
};

test('a recording that is not valid refuses to load, and names the file and the fault', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-recordings-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'x.json');
  const invalid =
    (pattern: RegExp) =>
    (error: HoldfastError): boolean =>
      error.code === 'gateway.recording_invalid' && pattern.test(error.message) && error.message.includes('x.json');
  const faults: [unknown, RegExp][] = [
    [{ ...good, format: 'holdfast-recording/2' }, /format/],
    [{ ...good, provenance: undefined }, /provenance/],
    [{ ...good, replies: [] }, /replies/],
    [{ ...good, replies: [{}] }, /whole, stream or both/],
    [{ ...good, extra: 1 }, /extra/],
    [{ ...good, name: 'y' }, /named y/],
    [{ ...good, replies: [{ stream: { events: [{ lines: ['a\nb'] }] } }] }, /one line/],
    [{ ...good, replies: [{ stream: { events: [{ afterMs: -1, lines: ['a'] }] } }] }, /afterMs/],
  ];
  for (const [content, pattern] of faults) {
    await writeFile(file, JSON.stringify(content));
    await assert.rejects(loadRecordings(folder), invalid(pattern));
  }
  await writeFile(file, '{');
  await assert.rejects(loadRecordings(folder), invalid(/not JSON/));
  await writeFile(file, JSON.stringify(good));
  assert.deepEqual([...(await loadRecordings(folder)).keys()], ['x']);
  await assert.rejects(loadRecordings(join(folder, 'missing')), /cannot be read/);
});
