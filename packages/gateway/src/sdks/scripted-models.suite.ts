import type { ServerResponse } from 'node:http';
import type { Format, JsonObject } from '../formats/format.ts';
import { isObject, parsedObject } from '../formats/json-value.ts';
import { openHarness, serve } from '../test-harness.ts';
import { type Behaviour, type ReceivedRequest, TestProvider } from '../test-provider.ts';

/** What a scripted model says, whichever format it is asked in. */
export interface Script {
  readonly thinking?: { readonly text: string; readonly signature: string };
  readonly text?: string;
  readonly calls?: readonly { readonly id: string; readonly name: string; readonly input: JsonObject }[];
}

/** What every answer says it used. */
export const usage = { input: 20, cached: 5, output: 9 } as const;

type Event = { readonly event?: string; readonly data: unknown };

const pieces = (text: string): string[] => text.match(/.{1,7}/gsu) ?? [];

const chatUsage = {
  prompt_tokens: usage.input + usage.cached,
  completion_tokens: usage.output,
  total_tokens: usage.input + usage.cached + usage.output,
  prompt_tokens_details: { cached_tokens: usage.cached, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
};

const chatCalls = (script: Script): JsonObject[] =>
  (script.calls ?? []).map(({ id, name, input }) => ({
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(input) },
  }));

const chatHead = { id: 'chatcmpl-s1', created: 1_790_000_000, model: 'gpt-5.4-2026-03-05', service_tier: 'default' };

const chatWhole = (script: Script): JsonObject => {
  const calls = chatCalls(script);
  const message = { role: 'assistant', content: script.text ?? null, refusal: null, annotations: [] };
  return {
    ...chatHead,
    object: 'chat.completion',
    choices: [
      {
        index: 0,
        message: calls.length > 0 ? { ...message, tool_calls: calls } : message,
        logprobs: null,
        finish_reason: calls.length > 0 ? 'tool_calls' : 'stop',
      },
    ],
    usage: chatUsage,
  };
};

const chatEvents = (script: Script): Event[] => {
  const chunk = (delta: JsonObject, finish: string | null = null): Event => ({
    data: {
      ...chatHead,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      usage: null,
    },
  });
  const events = [chunk({ role: 'assistant', content: '', refusal: null })];
  for (const content of pieces(script.text ?? '')) events.push(chunk({ content }));
  for (const [index, { id, name, input }] of (script.calls ?? []).entries()) {
    events.push(chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }));
    for (const part of pieces(JSON.stringify(input)))
      events.push(chunk({ tool_calls: [{ index, function: { arguments: part } }] }));
  }
  events.push(chunk({}, script.calls === undefined ? 'stop' : 'tool_calls'));
  events.push(
    { data: { ...chatHead, object: 'chat.completion.chunk', choices: [], usage: chatUsage } },
    { data: '[DONE]' },
  );
  return events;
};

const responsesUsage = {
  input_tokens: usage.input + usage.cached,
  input_tokens_details: { cached_tokens: usage.cached, cache_write_tokens: 0 },
  output_tokens: usage.output,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: usage.input + usage.cached + usage.output,
};

const responsesOutput = (script: Script): JsonObject[] => {
  const output: JsonObject[] = [];
  const { thinking, text } = script;
  if (thinking !== undefined) {
    const summary = [{ type: 'summary_text', text: thinking.text }];
    output.push({ id: 'rs_s1', type: 'reasoning', summary, encrypted_content: thinking.signature });
  }
  if (text !== undefined) {
    const content = [{ type: 'output_text', text, annotations: [], logprobs: [] }];
    output.push({ id: 'msg_s1', type: 'message', status: 'completed', role: 'assistant', content });
  }
  for (const { id, name, input } of script.calls ?? []) {
    const call = { call_id: id, name, arguments: JSON.stringify(input) };
    output.push({ id: `fc_${id}`, type: 'function_call', status: 'completed', ...call });
  }
  return output;
};

const responsesWhole = (script: Script, status = 'completed'): JsonObject => ({
  id: 'resp_s1',
  object: 'response',
  created_at: 1_790_000_000,
  status,
  error: null,
  incomplete_details: null,
  instructions: null,
  metadata: {},
  model: 'gpt-5.4-2026-03-05',
  output: status === 'completed' ? responsesOutput(script) : [],
  parallel_tool_calls: true,
  temperature: 1,
  tool_choice: 'auto',
  tools: [],
  top_p: 1,
  usage: status === 'completed' ? responsesUsage : null,
});

const responsesEvents = (script: Script): Event[] => {
  const events: Event[] = [];
  const say = (type: string, body: JsonObject): void => {
    events.push({ event: type, data: { type, sequence_number: events.length, ...body } });
  };
  say('response.created', { response: responsesWhole(script, 'in_progress') });
  for (const [output_index, item] of responsesOutput(script).entries()) {
    const place = { item_id: item.id, output_index };
    if (item.type === 'message') {
      const text = script.text ?? '';
      say('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', content: [] } });
      const part = { type: 'output_text', text: '', annotations: [] };
      say('response.content_part.added', { ...place, content_index: 0, part });
      for (const delta of pieces(text))
        say('response.output_text.delta', { ...place, content_index: 0, delta, logprobs: [] });
      say('response.output_text.done', { ...place, content_index: 0, text, logprobs: [] });
      say('response.content_part.done', { ...place, content_index: 0, part: { ...part, text } });
    } else if (item.type === 'function_call') {
      const text = String(item.arguments);
      say('response.output_item.added', { output_index, item: { ...item, status: 'in_progress', arguments: '' } });
      for (const delta of pieces(text)) say('response.function_call_arguments.delta', { ...place, delta });
      say('response.function_call_arguments.done', { ...place, name: item.name, arguments: text });
    } else {
      say('response.output_item.added', { output_index, item: { ...item, summary: [], encrypted_content: '' } });
      const part = { type: 'summary_text', text: '' };
      say('response.reasoning_summary_part.added', { ...place, summary_index: 0, part });
      const text = script.thinking?.text ?? '';
      for (const delta of pieces(text))
        say('response.reasoning_summary_text.delta', { ...place, summary_index: 0, delta });
      say('response.reasoning_summary_text.done', { ...place, summary_index: 0, text });
    }
    say('response.output_item.done', { output_index, item });
  }
  say('response.completed', { response: responsesWhole(script) });
  return events;
};

const messagesContent = (script: Script): JsonObject[] => {
  const content: JsonObject[] = [];
  const { thinking, text } = script;
  if (thinking !== undefined)
    content.push({ type: 'thinking', thinking: thinking.text, signature: thinking.signature });
  if (text !== undefined) content.push({ type: 'text', text });
  for (const call of script.calls ?? []) content.push({ type: 'tool_use', ...call });
  return content;
};

const messagesUsage = {
  input_tokens: usage.input,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: usage.cached,
  output_tokens: usage.output,
  service_tier: 'standard',
};

const messagesHead = { id: 'msg_s1', type: 'message', role: 'assistant', model: 'claude-opus-5-20260401' };

const messagesWhole = (script: Script): JsonObject => ({
  ...messagesHead,
  content: messagesContent(script),
  stop_reason: script.calls === undefined ? 'end_turn' : 'tool_use',
  stop_sequence: null,
  usage: messagesUsage,
});

const messagesEvents = (script: Script): Event[] => {
  const events: Event[] = [];
  const say = (type: string, body: JsonObject): void => {
    events.push({ event: type, data: { type, ...body } });
  };
  const begun = { content: [], stop_reason: null, stop_sequence: null, usage: { ...messagesUsage, output_tokens: 1 } };
  say('message_start', { message: { ...messagesHead, ...begun } });
  say('ping', {});
  for (const [index, block] of messagesContent(script).entries()) {
    const delta = (body: JsonObject): void => say('content_block_delta', { index, delta: body });
    if (block.type === 'text') {
      say('content_block_start', { index, content_block: { type: 'text', text: '' } });
      for (const text of pieces(String(block.text))) delta({ type: 'text_delta', text });
    } else if (block.type === 'thinking') {
      say('content_block_start', { index, content_block: { type: 'thinking', thinking: '', signature: '' } });
      for (const thinking of pieces(String(block.thinking))) delta({ type: 'thinking_delta', thinking });
      delta({ type: 'signature_delta', signature: block.signature });
    } else {
      say('content_block_start', { index, content_block: { ...block, input: {} } });
      for (const part of pieces(JSON.stringify(block.input))) delta({ type: 'input_json_delta', partial_json: part });
    }
    say('content_block_stop', { index });
  }
  const stop_reason = script.calls === undefined ? 'end_turn' : 'tool_use';
  say('message_delta', { delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: usage.output } });
  say('message_stop', {});
  return events;
};

const geminiRest = { modelVersion: 'gemini-3-pro', responseId: 'Gs1' };

const geminiUsage = {
  promptTokenCount: usage.input + usage.cached,
  cachedContentTokenCount: usage.cached,
  candidatesTokenCount: usage.output,
  totalTokenCount: usage.input + usage.cached + usage.output,
};

const geminiCalls = ({ calls, thinking }: Script): JsonObject[] =>
  (calls ?? []).map(({ name, input }, i) => ({
    functionCall: { name, args: input },
    // The first of parallel calls is signed, and no other.
    ...(i === 0 && thinking !== undefined ? { thoughtSignature: thinking.signature } : {}),
  }));

const geminiWhole = (script: Script): JsonObject => {
  const parts: JsonObject[] = [];
  if (script.thinking !== undefined) parts.push({ text: script.thinking.text, thought: true });
  if (script.text !== undefined) parts.push({ text: script.text });
  parts.push(...geminiCalls(script));
  const candidates = [{ content: { parts, role: 'model' }, finishReason: 'STOP', index: 0 }];
  return { candidates, usageMetadata: geminiUsage, ...geminiRest };
};

const geminiEvents = (script: Script): Event[] => {
  const parts: JsonObject[] = pieces(script.thinking?.text ?? '').map((text) => ({ text, thought: true }));
  for (const text of pieces(script.text ?? '')) parts.push({ text });
  parts.push(...geminiCalls(script));
  return parts.map((part, i) => ({
    data: {
      candidates: [
        {
          content: { parts: [part], role: 'model' },
          ...(i === parts.length - 1 ? { finishReason: 'STOP' } : {}),
          index: 0,
        },
      ],
      usageMetadata: i === parts.length - 1 ? geminiUsage : { promptTokenCount: 25, totalTokenCount: 25 },
      ...geminiRest,
    },
  }));
};

const wholes: Readonly<Record<Format, (script: Script) => JsonObject>> = {
  'openai-chat': chatWhole,
  'openai-responses': responsesWhole,
  anthropic: messagesWhole,
  gemini: geminiWhole,
};

const streams: Readonly<Record<Format, (script: Script) => Event[]>> = {
  'openai-chat': chatEvents,
  'openai-responses': responsesEvents,
  anthropic: messagesEvents,
  gemini: geminiEvents,
};

/** The format of a path at a provider. */
export const formatOf = (url: string): Format => {
  if (url.includes(':generateContent') || url.includes(':streamGenerateContent')) return 'gemini';
  if (url.includes('/messages')) return 'anthropic';
  return url.includes('/responses') ? 'openai-responses' : 'openai-chat';
};

export const bodyOf = (received: ReceivedRequest | undefined): JsonObject => parsedObject(String(received?.body)) ?? {};

const framed = ({ event, data }: Event): string =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

const sendEvents = async (response: ServerResponse, events: readonly Event[]): Promise<void> => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const event of events) await new Promise<void>((resolve) => void response.write(framed(event), () => resolve()));
};

const isStream = (received: ReceivedRequest): boolean =>
  received.url.includes(':streamGenerateContent') || bodyOf(received).stream === true;

/** Answers in the format it is asked in, as a stream to those who want one. */
export const says =
  (script: Script): Behaviour =>
  async (received, response) => {
    const format = formatOf(received.url);
    if (isStream(received)) {
      await sendEvents(response, streams[format](script));
      response.end();
    } else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(wholes[format](script)));
  };

const failures: Readonly<Record<Format, (status: number, message: string) => JsonObject>> = {
  'openai-chat': (_, message) => ({ error: { message, type: 'invalid_request_error', param: 'messages', code: null } }),
  'openai-responses': (_, message) => ({
    error: { message, type: 'invalid_request_error', param: 'input', code: null },
  }),
  anthropic: (_, message) => ({
    type: 'error',
    error: { type: 'invalid_request_error', message },
    request_id: 'req_s1',
  }),
  gemini: (code, message) => ({ error: { code, message, status: 'INVALID_ARGUMENT' } }),
};

/** Refuses in the words of the format it is asked in. */
export const refuses =
  (status: number, message: string, headers: Record<string, string> = {}): Behaviour =>
  (received, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(failures[formatOf(received.url)](status, message)));
  };

/** Begins a stream, then reports a failure in it. */
export const failsMidway =
  (text: string): Behaviour =>
  async (received, response) => {
    const format = formatOf(received.url);
    const events = streams[format]({ text }).filter(
      ({ data }) => JSON.stringify(data).includes('delta') || isObject(data),
    );
    const end = events.findIndex(({ data }) => /"(stop|STOP|end_turn|completed)"/.test(JSON.stringify(data)));
    await sendEvents(response, events.slice(0, Math.max(1, end)));
    const message = 'The model is overloaded.';
    const failure: Readonly<Record<Format, Event>> = {
      'openai-chat': { data: { error: { message, type: 'server_error', param: null, code: null } } },
      'openai-responses': {
        event: 'error',
        data: { type: 'error', code: 'server_error', message, param: null, sequence_number: 99 },
      },
      anthropic: { event: 'error', data: { type: 'error', error: { type: 'overloaded_error', message } } },
      gemini: { data: { error: { code: 503, message, status: 'UNAVAILABLE' } } },
    };
    response.write(framed(failure[format]));
    response.end();
  };

/** Routes named after who answers; each speaks its own format, `compatible` chat completions only. */
export const routeNames = ['openai', 'compatible', 'anthropic', 'gemini'] as const;
export type RouteName = (typeof routeNames)[number];

/** A model at each provider that is asked only where it refuses: after a refusal for the rate, it is left alone. */
export const busyModel = 'busy';

export interface Stage {
  readonly origin: string;
  readonly provider: TestProvider;
  close(): Promise<void>;
}

/** A gateway on HTTP over one scripted provider that speaks all formats. */
export const openStage = async (): Promise<Stage> => {
  const harness = await openHarness();
  const provider = new TestProvider();
  await provider.listen();
  const base = provider.baseUrl;
  const origin = base.slice(0, -'/v1'.length);
  const route = (name: RouteName, model: string) => ({
    name,
    retries: 0,
    targets: [{ provider: name, model }],
  });
  const models = [busyModel];
  const gateway = await harness.open({
    providers: [
      {
        ...{ name: 'openai', kind: 'openai', baseUrl: base, apiKey: 'sk-openai' },
        models: [...models, 'gpt-5.4', 'text-embedding-3-small'],
      },
      { name: 'compatible', kind: 'openai-compatible', baseUrl: base, models: [...models, 'llama-4'] },
      {
        ...{ name: 'anthropic', kind: 'anthropic', baseUrl: origin, apiKey: 'sk-anthropic' },
        models: [...models, 'claude-opus-5'],
      },
      {
        ...{ name: 'gemini', kind: 'gemini', baseUrl: origin, apiKey: 'sk-gemini' },
        models: [...models, 'gemini-3-pro', 'gemini-embedding-001'],
      },
    ],
    routes: [
      route('openai', 'gpt-5.4'),
      route('compatible', 'llama-4'),
      route('anthropic', 'claude-opus-5'),
      route('gemini', 'gemini-3-pro'),
      { name: 'embed-openai', retries: 0, targets: [{ provider: 'openai', model: 'text-embedding-3-small' }] },
      { name: 'embed-gemini', retries: 0, targets: [{ provider: 'gemini', model: 'gemini-embedding-001' }] },
    ],
  });
  const served = await serve(gateway);
  return {
    origin: served.origin,
    provider,
    async close() {
      served.close();
      await harness.close();
      await provider.close();
    },
  };
};
