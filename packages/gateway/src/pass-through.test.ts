import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import type { Gateway } from './gateway.ts';
import { ask, chat, type Harness, openHarness, principal, question, serve, traceIdOf, until } from './test-harness.ts';
import { answers, sendsStream, sendsWhole, streamEvents, wholeBytes } from './test-provider.ts';

let harness: Harness;
let gateway: Gateway;
let stopServing: () => void;
let client: OpenAI;

before(async () => {
  harness = await openHarness();
  gateway = await harness.openPair();
  const served = await serve(gateway);
  stopServing = served.close;
  client = new OpenAI({ baseURL: served.url, apiKey: 'hf_callers_key', maxRetries: 0 });
});

after(async () => {
  stopServing();
  await harness.close();
});

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('[R-gateway-faithful] the request reaches the provider byte for byte but for the model', async () => {
  harness.first.will(sendsWhole(0));
  const body =
    '{ "seed": 12345678901234567890,\r\n "temperature":1.0, "model" : "smart","x":"\\u00e9 \\/ é",\n"messages":[{"role":"user","content":"model \\"smart\\""}]}';
  const response = await ask(
    gateway,
    chat(body, { headers: { cookie: 'c=1', 'openai-organization': 'org' } }),
    principal,
  );
  assert.equal(await response.text(), wholeBytes(0));
  const [received] = harness.first.received;
  assert.equal(received?.url, '/v1/chat/completions');
  assert.equal(received?.body.toString(), body.replace('"smart"', '"gpt-4.1-mini"'));
  assert.equal(received?.headers.authorization, 'Bearer sk-first');
  assert.equal(received?.headers.cookie, undefined);
  assert.equal(received?.headers['openai-organization'], undefined);
  assert.equal(response.headers.get('x-request-id'), 'req_provider');
  assert.equal(response.headers.get('x-holdfast-provider'), 'first');
  assert.equal(response.headers.get('set-cookie'), null);
  assert.equal(response.headers.get('x-holdfast-recorded'), null);
});

test('a call is written to the ledger and emitted as a span under the traceparent of the request', async () => {
  harness.first.will(sendsWhole(1));
  harness.spans.length = 0;
  const response = await ask(gateway, chat(question, { headers: { traceparent } }), principal);
  assert.equal(response.status, 200);
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  assert.equal(traceIdOf(response), traceId);
  const [row, ...more] = await harness.calls(traceId);
  assert.equal(more.length, 0);
  await until(() => harness.spans.length > 0, 'the span');
  const [span] = harness.spans;
  assert.ok(row && span);
  assert.deepEqual(
    [row.workspace_id, row.key_id, row.user_id, row.endpoint, row.route, row.requested_model],
    ['ws_1', 'key_1', 'usr_1', 'chat.completions', 'smart', 'smart'],
  );
  assert.deepEqual(
    [row.provider, row.provider_model, row.recorded, row.attempt, row.streamed, row.status, row.error_class],
    ['first', 'gpt-4.1-mini', false, 1, false, 200, null],
  );
  // 54 fresh at $0.40, 64 cached at $0.10 and 12 output at $1.60 a million: 47.2 millionths, rounded up.
  assert.deepEqual([row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cost_micro_usd], [54, 12, 64, 48]);
  assert.equal(row.span_id, span.spanId);
  assert.ok(row.latency_ms > 0);
  assert.deepEqual(
    [span.traceId, span.parentSpanId, span.kind, span.name, span.status, span.workspaceId],
    [traceId, 'b7ad6b7169203331', 'model', 'chat smart', 'ok', 'ws_1'],
  );
  assert.deepEqual([span.inputTokens, span.outputTokens, span.costMicroUsd], [118, 12, 48]);
  assert.equal(span.attributes['gen_ai.response.model'], 'gpt-4.1-mini-2025-04-14');
  assert.equal(span.attributes.recorded, false);
  assert.ok(span.endMs > span.startMs);
});

test('a row of the ledger cannot be changed, deleted or truncated', async () => {
  const { kysely } = harness.database;
  await assert.rejects(kysely.updateTable('model_attempts').set({ cost_micro_usd: 0 }).execute(), /never change/);
  await assert.rejects(kysely.deleteFrom('model_attempts').execute(), /never change/);
  const { sql } = await import('kysely');
  await assert.rejects(sql`truncate model_attempts`.execute(kysely), /never change/);
});

test('without a valid traceparent the call begins a trace of its own', async () => {
  harness.first.will(sendsWhole(1));
  harness.spans.length = 0;
  const response = await ask(gateway, chat(question, { headers: { traceparent: '00-bad' } }), principal);
  assert.match(traceIdOf(response), /^[0-9a-f]{32}$/);
  assert.equal(harness.spans[0]?.parentSpanId, null);
});

test('a stream passes byte for byte, without the usage chunk that nobody asked for', async () => {
  harness.first.will(sendsStream(1));
  const response = await ask(gateway, chat({ ...question, stream: true }), principal);
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
  const expected = streamEvents(1).filter((e) => !e.includes('"choices":[]'));
  assert.equal(expected.length, streamEvents(1).length - 1);
  assert.equal(await response.text(), expected.join(''));
  const sent: unknown = JSON.parse(harness.first.received[0]?.body.toString() ?? '');
  assert.deepEqual(sent, {
    stream_options: { include_usage: true },
    ...question,
    model: 'gpt-4.1-mini',
    stream: true,
  });
  const [row] = await harness.calls(traceIdOf(response));
  assert.deepEqual([row?.streamed, row?.input_tokens, row?.output_tokens, row?.cache_read_tokens], [true, 54, 12, 64]);
  assert.ok(row?.first_token_ms !== null && row?.first_token_ms !== undefined);
  assert.ok(row.first_token_ms <= row.latency_ms);
});

test('a caller that asks for usage gets the usage chunk', async () => {
  harness.first.will(sendsStream(1));
  const body = { ...question, stream: true, stream_options: { include_usage: true } };
  const response = await ask(gateway, chat(body), principal);
  assert.equal(await response.text(), streamEvents(1).join(''));
});

test('the openai client completes a conversation with a tool call', async () => {
  harness.first.will(sendsWhole(0), sendsWhole(1));
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'How many files?' }];
  const asked = await client.chat.completions.create({ model: 'smart', messages });
  const message = asked.choices[0]?.message;
  const call = message?.tool_calls?.[0];
  assert.ok(message && call?.type === 'function');
  assert.equal(call.function.arguments, '{"shell":"ls /repo | wc -l"}');
  messages.push(message, { role: 'tool', tool_call_id: call.id, content: '3' });
  const answer = await client.chat.completions.create({ model: 'smart', messages });
  assert.match(answer.choices[0]?.message.content ?? '', /✓$/);
  assert.equal(answer.usage?.total_tokens, 130);
});

test('the openai client streams', async () => {
  harness.first.will(sendsStream(1));
  const stream = await client.chat.completions.create({ model: 'smart', messages: [], stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  assert.equal(text, 'The repository holds the files that `ls` counted. ✓');
});

test("the provider's refusal of a request passes as it is and is not tried elsewhere", async () => {
  harness.first.will(answers(400));
  harness.second.will(sendsWhole(1));
  const response = await ask(gateway, chat(question), principal);
  assert.equal(response.status, 400);
  assert.match(await response.text(), /provider says 400/);
  assert.equal(harness.second.received.length, 0);
  const [row] = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    [row?.status, row?.error_class, row?.input_tokens, row?.cost_micro_usd],
    [400, 'rejected', null, null],
  );
});

test('the openai client gets our code in its own error', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'nobody/serves-this', messages: [] }), (error) => {
    // Both providers take any model, so the name reaches the first as it is.
    assert.ok(error instanceof OpenAI.APIError);
    return true;
  });
  harness.first.will(answers(401));
  await assert.rejects(client.chat.completions.create({ model: 'first/gpt-4.1', messages: [] }), (error) => {
    assert.ok(error instanceof OpenAI.APIError);
    assert.deepEqual([error.status, error.code], [502, 'gateway.provider_refused']);
    assert.doesNotMatch(error.message, /provider says/);
    return true;
  });
});

test('the openai client lists the models', async () => {
  const models = await client.models.list();
  assert.deepEqual(
    models.data.map((m) => [m.id, m.owned_by]),
    [['smart', 'route']],
  );
});

test('a key with a list of models sees and asks for those only', async () => {
  harness.first.will(sendsWhole(1));
  const bound = { ...principal, modelRoutes: ['first/*'] };
  const listed: unknown = await (await ask(gateway, new Request('http://x/v1/models'), bound)).json();
  assert.deepEqual(listed, { object: 'list', data: [] });
  const refused = await ask(gateway, chat(question), bound);
  assert.deepEqual([refused.status, refused.headers.get('x-should-retry')], [403, 'false']);
  assert.match(await refused.text(), /"code":"gateway.model_not_allowed"/);
  assert.equal((await ask(gateway, chat({ ...question, model: 'first/gpt-4.1' }), bound)).status, 200);
});
