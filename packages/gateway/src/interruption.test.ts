import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newTraceId } from '@holdfast/core';
import OpenAI from 'openai';
import type { Gateway } from './gateway.ts';
import { ask, chat, type Harness, openHarness, principal, question, serve, traceIdOf, until } from './test-harness.ts';
import { type Behaviour, breaksAfter, hangs, sendsStream, sendsWhole, streamEvents } from './test-provider.ts';

let harness: Harness;
let gateway: Gateway;
let impatient: Gateway;

before(async () => {
  harness = await openHarness();
  gateway = await harness.openPair();
  impatient = await harness.openPair(150);
});

after(() => harness.close());

const streamed = { ...question, stream: true };
const lastEvent = (text: string): unknown =>
  JSON.parse(text.trimEnd().split('\n\n').at(-1)?.slice('data: '.length) ?? '');
const codeOf = (event: unknown): unknown => Reflect.get(Object(Reflect.get(Object(event), 'error')), 'code');

test('a stream that breaks after content ends with an error event and is not tried elsewhere', async () => {
  harness.first.will(breaksAfter(1, 4, (res) => res.destroy()));
  harness.second.will(sendsStream(1));
  const response = await ask(gateway, chat(streamed), principal);
  const text = await response.text();
  assert.equal(response.status, 200);
  // How much of it arrives depends on when the reset does; never less than what began the answer.
  const passed = text.slice(0, text.lastIndexOf('data: '));
  assert.ok(passed.includes('"content":"The repository"'));
  assert.ok(streamEvents(1).join('').startsWith(passed));
  assert.equal(codeOf(lastEvent(text)), 'gateway.stream_broken');
  assert.doesNotMatch(text, /\[DONE\]/);
  assert.equal(harness.second.received.length, 0);
  const calls = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    calls.map((c) => [c.status, c.error_class, c.usage_source, c.output_tokens]),
    // The broken answer is billed: three events of it carried content, or two when the reset came first.
    [[200, 'stream_broken', 'estimated', calls[0]?.output_tokens]],
  );
});

test('a stream that ends cleanly but without an end is broken, too', async () => {
  harness.first.will(breaksAfter(1, 4, (res) => res.end()));
  const response = await ask(gateway, chat(streamed), principal);
  assert.equal(codeOf(lastEvent(await response.text())), 'gateway.stream_broken');
});

test('a stream that falls silent after content ends with an error event', async () => {
  harness.first.will(breaksAfter(1, 4, () => undefined));
  const response = await ask(impatient, chat(streamed), principal);
  assert.equal(codeOf(lastEvent(await response.text())), 'gateway.provider_timeout');
  assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, 'timeout');
  // The connection to the provider is closed as well.
  await harness.first.received[0]?.closed;
});

test("a provider's own error event amid a stream passes, and counts as an error", async () => {
  const fails: Behaviour = breaksAfter(1, 4, (res) => res.end('data: {"error":{"message":"died","code":"x"}}\n\n'));
  harness.first.will(fails);
  const response = await ask(gateway, chat(streamed), principal);
  assert.equal(codeOf(lastEvent(await response.text())), 'x');
  assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, 'provider_error');
});

test('a provider that keeps the connection open after [DONE] does not hold the caller', async () => {
  const stays: Behaviour = breaksAfter(1, 99, () => undefined);
  harness.first.will(stays);
  const response = await ask(gateway, chat(streamed), principal);
  assert.match(await response.text(), /\[DONE\]\n\n$/);
  assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, null);
  await harness.first.received[0]?.closed;
});

test('the openai client throws on a stream that breaks', async (t) => {
  const { url, close } = await serve(gateway);
  t.after(close);
  harness.first.will(breaksAfter(1, 4, (res) => res.destroy()));
  const client = new OpenAI({ baseURL: url, apiKey: 'hf_key', maxRetries: 0 });
  const stream = await client.chat.completions.create({ model: 'smart', messages: [], stream: true });
  let text = '';
  await assert.rejects(
    async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
    },
    (error) => error instanceof OpenAI.APIError && error.code === 'gateway.stream_broken',
  );
  assert.match(text, /^The repository/);
});

for (const [name, behaviour, body] of [
  ['before an answer', hangs, question],
  ['before a stream', hangs, streamed],
  ['before the first content', breaksAfter(1, 1, () => undefined), streamed],
] as const)
  test(`a caller that goes away ${name} ends the call to the provider`, async () => {
    harness.first.will(behaviour);
    harness.second.will(sendsWhole(1));
    harness.spans.length = 0;
    const leave = new AbortController();
    const traceId = newTraceId();
    const headers = { traceparent: `00-${traceId}-b7ad6b7169203331-01` };
    const pending = ask(gateway, chat(body, { signal: leave.signal, headers }), principal);
    await until(() => harness.first.received.length === 1, 'the provider is asked');
    leave.abort();
    await assert.rejects(pending);
    await harness.first.received[0]?.closed;
    const calls = await harness.calls(traceId);
    assert.deepEqual(
      calls.map((c) => [c.error_class, c.usage_source, c.input_tokens === 0]),
      [['client_disconnected', 'estimated', false]],
    );
    await until(() => harness.spans.length === 1, 'the span');
    assert.equal(harness.second.received.length, 0);
  });

for (const way of ['cancels the body', 'aborts the request', 'aborts the request without reading'] as const)
  test(`a caller that ${way} amid a stream ends the call to the provider`, async () => {
    harness.first.will(breaksAfter(1, 4, () => undefined));
    const leave = new AbortController();
    const response = await ask(gateway, chat(streamed, { signal: leave.signal }), principal);
    const traceId = traceIdOf(response);
    const reader = response.body?.getReader();
    if (way !== 'aborts the request without reading') await reader?.read();
    if (way === 'cancels the body') await reader?.cancel();
    else leave.abort();
    await harness.first.received[0]?.closed;
    assert.equal((await harness.calls(traceId))[0]?.error_class, 'client_disconnected');
  });

test('a client that drops its connection ends the call to the provider', async (t) => {
  const { url, close } = await serve(gateway);
  t.after(close);
  harness.first.will(breaksAfter(1, 4, () => undefined));
  const client = new OpenAI({ baseURL: url, apiKey: 'hf_key', maxRetries: 0 });
  const stream = await client.chat.completions.create({ model: 'smart', messages: [], stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  await harness.first.received[0]?.closed;
});

test('a caller that leaves after the last event has got everything', async () => {
  harness.first.will(sendsStream(1));
  const response = await ask(gateway, chat(streamed), principal);
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  for (let text = ''; !text.includes('[DONE]'); ) text += decoder.decode((await reader?.read())?.value);
  await reader?.cancel();
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([call?.error_class, call?.input_tokens, call?.cache_read_tokens], [null, 54, 64]);
});

test('closing ends all calls and writes them down', async () => {
  const closing = await harness.openPair();
  harness.first.will(
    breaksAfter(1, 4, () => undefined),
    hangs,
  );
  const begun = await ask(closing, chat(streamed), principal);
  const pending = ask(closing, chat(question), principal);
  await until(() => harness.first.received.length === 2, 'both calls are under way');
  await closing.close();
  const refused = await pending;
  assert.equal(refused.status, 503);
  assert.equal(codeOf(lastEvent(await begun.text())), 'gateway.closed');
  for (const response of [begun, refused])
    assert.equal((await harness.calls(traceIdOf(response)))[0]?.error_class, 'gateway_closed');
  const late = await ask(closing, chat(question), principal);
  assert.match(await late.text(), /"code":"gateway.closed"/);
});
