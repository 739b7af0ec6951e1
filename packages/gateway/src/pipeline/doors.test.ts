import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Gateway } from '../gateway.ts';
import { awsFrame } from '../providers/aws-frame.suite.ts';
import { ask, chat, type Harness, openHarness, question, traceIdOf, until } from '../test-harness.ts';
import { answers, type Behaviour, sendsStream, sendsWhole } from '../test-provider.ts';

let harness: Harness;
let gateway: Gateway;

before(async () => {
  harness = await openHarness();
  const origin = harness.first.baseUrl.replace('/v1', '');
  gateway = await harness.open({
    providers: [
      { name: 'openai', kind: 'openai', baseUrl: harness.first.baseUrl, apiKey: 'sk-1' },
      { name: 'anthropic', kind: 'anthropic', baseUrl: origin, apiKey: 'sk-2' },
      { name: 'gemini', kind: 'gemini', baseUrl: origin, apiKey: 'sk-3' },
      {
        ...{ name: 'bedrock', kind: 'bedrock', region: 'us-east-1', baseUrl: origin, prices: 'anthropic' },
        ...{ accessKeyId: 'AKID', secretAccessKey: 'secret' },
      },
    ],
  });
});
after(() => harness.close());

const messages = (body: object, headers: Record<string, string> = {}) =>
  chat({ max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }], ...body }, { path: '/v1/messages', headers });

const says =
  (type: string, ...pieces: readonly (string | Buffer)[]): Behaviour =>
  (_, res) => {
    res.writeHead(200, { 'content-type': type });
    for (const piece of pieces) res.write(piece);
    res.end();
  };

const claude = {
  ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-haiku-4-5-20251001' },
  ...{ content: [{ type: 'text', text: 'Hello!' }], stop_reason: 'end_turn', stop_sequence: null },
  usage: { input_tokens: 9, cache_read_input_tokens: 4, cache_creation_input_tokens: 2, output_tokens: 3 },
  from_the_future: true,
};
const event = (document: { readonly type: string; readonly [key: string]: unknown }): string =>
  `event: ${document.type}\ndata: ${JSON.stringify(document)}\n\n`;
const claudeEvents = [
  event({ type: 'message_start', message: { ...claude, content: [], usage: { input_tokens: 9, output_tokens: 1 } } }),
  event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
  event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello!' } }),
  event({ type: 'content_block_stop', index: 0 }),
  event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 3 } }),
  event({ type: 'message_stop' }),
];

test("[R-gateway-faithful] Anthropic's answers pass byte for byte by Anthropic's door, whole and streamed", async () => {
  const whole = JSON.stringify(claude);
  harness.first.will(says('application/json', whole));
  const response = await ask(gateway, messages({ model: 'anthropic/claude-haiku-4-5' }, { 'anthropic-beta': 'b' }));
  assert.equal(await response.text(), whole);
  const [received] = harness.first.received;
  assert.deepEqual([received?.headers['x-api-key'], received?.headers['anthropic-beta']], ['sk-2', 'b']);
  assert.equal(received?.headers.authorization, undefined);
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    [call?.endpoint, call?.input_tokens, call?.cache_read_tokens, call?.cache_write_5m_tokens, call?.output_tokens],
    ['messages', 9, 4, 2, 3],
  );
  assert.ok(Number(call?.cost_micro_usd) > 0);
  harness.first.will(says('text/event-stream', ...claudeEvents));
  const stream = await ask(gateway, messages({ model: 'anthropic/claude-haiku-4-5', stream: true }));
  assert.equal(await stream.text(), claudeEvents.join(''));
});

test('a request in one format is translated for a target of another, and its answer back', async () => {
  harness.first.will(says('application/json', JSON.stringify(claude)));
  const response = await ask(
    gateway,
    chat({ ...question, model: 'anthropic/claude-haiku-4-5', logit_bias: { 5: 1 }, max_tokens: 20 }),
  );
  assert.equal(response.status, 200);
  const body = Object(await response.json());
  assert.equal(body.choices[0].message.content, 'Hello!');
  assert.deepEqual([body.usage.prompt_tokens, body.usage.completion_tokens], [15, 3]);
  assert.match(response.headers.get('holdfast-not-carried') ?? '', /logit_bias/);
  const sent = Object(JSON.parse(harness.first.received[0]?.body.toString() ?? ''));
  assert.deepEqual([sent.model, sent.max_tokens, sent.messages[0].role], ['claude-haiku-4-5', 20, 'user']);
});

test('a stream is translated event by event, and tells usage only when it was asked for', async () => {
  harness.first.will(says('text/event-stream', ...claudeEvents));
  const model = 'anthropic/claude-haiku-4-5';
  const plain = await (await ask(gateway, chat({ ...question, model, stream: true }))).text();
  assert.match(plain, /"content":"Hello!"/);
  assert.match(plain, /data: \[DONE\]\n\n$/);
  assert.doesNotMatch(plain, /"usage":\{/);
  const options = { stream_options: { include_usage: true } };
  const told = await (await ask(gateway, chat({ ...question, model, stream: true, ...options }))).text();
  assert.match(told, /"completion_tokens":3/);
  harness.first.will(sendsStream(1));
  const back = await ask(gateway, messages({ model: 'openai/gpt-4.1-mini', stream: true }));
  const text = await back.text();
  assert.match(text, /^event: message_start\n/);
  assert.match(text, /event: message_stop\n/);
  const [call] = await harness.calls(traceIdOf(back));
  assert.deepEqual([call?.input_tokens, call?.cache_read_tokens, call?.output_tokens], [54, 64, 12]);
});

test("[R-gateway-native-errors] a provider's refusal comes in the words of the door", async () => {
  harness.first.will(answers(422));
  const response = await ask(gateway, messages({ model: 'openai/gpt-4.1-mini' }));
  assert.equal(response.status, 422);
  const body = Object(await response.json());
  assert.deepEqual(
    [body.type, body.error.type, body.error.message],
    ['error', 'invalid_request_error', 'provider says 422'],
  );
});

test('[R-gateway-native-errors] errors of the gateway have the form of each door', async () => {
  const anthropic = Object(await (await ask(gateway, messages({ model: 5 }))).json());
  assert.deepEqual([anthropic.type, anthropic.error.type], ['error', 'invalid_request_error']);
  const path = '/v1beta/models/nothing%2Fhere:generateContent';
  const gemini = await ask(gateway, chat({ contents: 'x' }, { path }));
  const { error } = Object(await gemini.json());
  assert.deepEqual([gemini.status, error.code, error.status], [400, 400, 'INVALID_ARGUMENT']);
  const openai = await ask(gateway, chat({ model: 'x' }));
  assert.match(await openai.text(), /"code":"request.invalid"/);
  const none = await ask(gateway, chat({ model: 'anthropic/x', input: 'a' }, { path: '/v1/embeddings' }));
  assert.match(await none.text(), /"code":"gateway.endpoint_unsupported"/);
});

const geminiAnswer = (text: string, last: boolean) => ({
  candidates: [{ content: { role: 'model', parts: [{ text }] }, ...(last ? { finishReason: 'STOP' } : {}) }],
  usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 2, totalTokenCount: 9 },
  modelVersion: 'gemini-2.5-flash',
});
const contents = [{ role: 'user', parts: [{ text: 'Hi' }] }];

test("Gemini's door takes the model from the path, and streams events or a list as its callers ask", async () => {
  const pieces = [geminiAnswer('Hel', false), geminiAnswer('lo', true)];
  const events = pieces.map((piece) => `data: ${JSON.stringify(piece)}\r\n\r\n`);
  harness.first.will(says('text/event-stream', ...events));
  const path = '/v1beta/models/gemini/gemini-2.5-flash:streamGenerateContent';
  const sse = await ask(gateway, chat({ contents }, { path: `${path}?alt=sse` }));
  assert.equal(await sse.text(), events.join(''));
  assert.equal(harness.first.received[0]?.url, '/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse');
  const list = await ask(gateway, chat({ contents }, { path }));
  assert.match(list.headers.get('content-type') ?? '', /^application\/json/);
  assert.deepEqual(await list.json(), pieces);
  harness.first.will(says('application/json', JSON.stringify(geminiAnswer('Hello', true))));
  const whole = await ask(gateway, chat({ contents }, { path: path.replace('streamGenerate', 'generate') }));
  assert.deepEqual(await whole.json(), geminiAnswer('Hello', true));
  const [call] = await harness.calls(traceIdOf(whole));
  assert.deepEqual([call?.endpoint, call?.input_tokens, call?.output_tokens], ['gemini.generate', 7, 2]);
});

test('a list of Gemini that breaks off ends as a list, with the error in it', async () => {
  harness.first.will((_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify(geminiAnswer('Hel', false))}\n\n`, () => res.destroy());
  });
  const path = '/v1beta/models/gemini/gemini-2.5-flash:streamGenerateContent';
  const list: unknown = await (await ask(gateway, chat({ contents }, { path }))).json();
  assert.ok(Array.isArray(list));
  assert.equal(Object(list.at(-1)).error.status, 'UNAVAILABLE');
});

test("Bedrock's event stream comes out as Anthropic's events", async () => {
  const frames = claudeEvents.map((text) => {
    const data = /data: (.*)/.exec(text)?.[1] ?? '';
    return awsFrame({ ':event-type': 'chunk' }, JSON.stringify({ bytes: Buffer.from(data).toString('base64') }));
  });
  harness.first.will(says('application/vnd.amazon.eventstream', Buffer.concat(frames)));
  const response = await ask(gateway, messages({ model: 'bedrock/claude-haiku-4-5', stream: true }));
  assert.equal(await response.text(), claudeEvents.join(''));
  harness.first.will(
    says(
      'application/vnd.amazon.eventstream',
      awsFrame({ ':exception-type': 'throttlingException' }, '{"message":"slow"}'),
    ),
  );
  const failed = await ask(gateway, messages({ model: 'bedrock/claude-haiku-4-5', stream: true }));
  assert.ok(failed.status >= 429);
  assert.match(await failed.text(), /slow/);
});

test('a form keeps its bytes but for the model', async () => {
  harness.first.will(says('application/json', '{"text":"Hello","usage":{"type":"duration","seconds":3}}'));
  const boundary = 'xBOUNDx';
  const part = (name: string, value: string, more = ''): string =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
  const form = (model: string): string =>
    `${part('file', '\u0001\u0002 --xBOUND name="model" ', '; filename="a.mp3"')}${part('model', model)}${part('language', 'en')}--${boundary}--\r\n`;
  const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` };
  const path = '/v1/audio/transcriptions';
  const response = await ask(gateway, chat(form('openai/whisper-1'), { path, headers }));
  assert.equal(await response.text(), '{"text":"Hello","usage":{"type":"duration","seconds":3}}');
  const [received] = harness.first.received;
  assert.equal(received?.body.toString(), form('whisper-1'));
  assert.equal(received?.headers['content-type'], headers['content-type']);
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([call?.endpoint, Number(call?.audio_seconds), call?.error_class], ['audio.transcriptions', 3, null]);
  for (const bad of ['', 'no form at all', form('x').slice(0, -8), part('file', 'x')]) {
    const refused = await ask(gateway, chat(bad, { path, headers }));
    assert.equal(refused.status, 400, bad);
  }
});

test('speech passes as the bytes that it is', async () => {
  const audio = Buffer.from([0xff, 0xfb, 0x90, 0x00, 0x01, 0x80, 0xfe]);
  harness.first.will(says('audio/mpeg', audio, audio));
  const body = { model: 'openai/tts-1', input: 'Hello there', voice: 'alloy' };
  const response = await ask(gateway, chat(body, { path: '/v1/audio/speech' }));
  assert.equal(response.headers.get('content-type'), 'audio/mpeg');
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), Buffer.concat([audio, audio]));
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([Number(call?.characters), call?.error_class], [11, null]);
});

test('tokens are counted for nothing, by a provider that counts', async () => {
  harness.first.will(says('application/json', '{"input_tokens":12}'));
  const path = '/v1/messages/count_tokens';
  const body = { messages: [{ role: 'user', content: 'Hi' }] };
  const response = await ask(gateway, chat({ model: 'anthropic/claude-haiku-4-5', ...body }, { path }));
  assert.equal(await response.text(), '{"input_tokens":12}');
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([call?.endpoint, call?.cost_micro_usd], ['messages.count_tokens', 0]);
});

test('[R-gateway-usage-after-leave] an answer that is paid in full anyway is read to its end for its usage', async () => {
  let go = (): void => undefined;
  const left = new Promise<void>((resolve) => {
    go = resolve;
  });
  harness.first.will(async (_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(`data: ${JSON.stringify(geminiAnswer('Hel', false))}\n\n`);
    await left;
    res.end(
      `data: ${JSON.stringify({ ...geminiAnswer('lo', true), usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 40 } })}\n\n`,
    );
  });
  const leave = new AbortController();
  const path = '/v1beta/models/gemini/gemini-2.5-flash:streamGenerateContent?alt=sse';
  const response = await ask(gateway, chat({ contents }, { path, signal: leave.signal }));
  await response.body?.getReader().read();
  leave.abort();
  await until(() => gateway.activeCalls === 1, 'the call goes on');
  go();
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual([call?.error_class, call?.usage_source, call?.output_tokens], [null, 'provider', 40]);
});

test('[R-gateway-usage-after-leave] what a caller that left had used is estimated where nobody goes on', async () => {
  harness.first.will((_, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(claudeEvents.slice(0, 3).join(''));
  });
  const leave = new AbortController();
  const body = { model: 'anthropic/claude-haiku-4-5', stream: true };
  const request = messages(body);
  const response = await ask(gateway, new Request(request, { signal: leave.signal }));
  await response.body?.getReader().read();
  leave.abort();
  await harness.first.received[0]?.closed;
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    [call?.error_class, call?.usage_source, call?.input_tokens],
    ['client_disconnected', 'estimated', 9],
  );
  assert.ok(Number(call?.cost_micro_usd) > 0);
});

test('what callers say of a call is in its row', async () => {
  harness.first.will(sendsWhole(1));
  const headers = {
    ...{ 'holdfast-run': 'run_1', 'holdfast-agent': 'coder', 'holdfast-step': '3' },
    'holdfast-tags': 'team=core, ticket=a=b',
  };
  const response = await ask(gateway, chat({ ...question, model: 'openai/gpt-4.1-mini' }, { headers }));
  const [call] = await harness.calls(traceIdOf(response));
  assert.deepEqual(
    [call?.run_id, call?.agent_id, call?.step, call?.tags],
    ['run_1', 'coder', '3', { team: 'core', ticket: 'a=b' }],
  );
  const bound = { workspaceId: 'ws_1', keyId: 'k', userId: null, role: 'developer', runId: 'run_own' } as const;
  const other = await ask(gateway, chat({ ...question, model: 'openai/gpt-4.1-mini' }, { headers }), bound);
  assert.equal((await harness.calls(traceIdOf(other)))[0]?.run_id, 'run_own');
  const bad = await ask(gateway, chat(question, { headers: { 'holdfast-tags': 'novalue-but-ok,=x' } }));
  assert.equal(bad.status, 400);
});
