import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readMessagesRequest } from './anthropic/request-reader.ts';
import { MessagesStreamReader } from './anthropic/stream-reader.ts';
import { MessagesStreamWriter } from './anthropic/stream-writer.ts';
import { argumentText } from './call-arguments.ts';
import { type Format, formats, type JsonObject, type SseEvent } from './format.ts';
import { readGeminiRequest } from './gemini/request-reader.ts';
import { GeminiStreamReader } from './gemini/stream-reader.ts';
import { GeminiStreamWriter } from './gemini/stream-writer.ts';
import { pairs } from './golden-files.suite.ts';
import { Losses } from './losses.ts';
import type { CallPart, NeutralEvent, NeutralRequest, Part, StopReason, Turn } from './neutral.ts';
import { readChatRequest } from './openai-chat/request-reader.ts';
import { ChatStreamReader } from './openai-chat/stream-reader.ts';
import { ChatStreamWriter } from './openai-chat/stream-writer.ts';
import { readResponsesRequest } from './openai-responses/request-reader.ts';
import { ResponsesStreamReader } from './openai-responses/stream-reader.ts';
import { ResponsesStreamWriter } from './openai-responses/stream-writer.ts';
import { SeededRandom } from './seeded-random.suite.ts';
import type { StreamReader, StreamWriter } from './stream-format.ts';
import { translateRequest, translateResponse } from './translate.ts';
import { usageReader } from './usage.ts';

const rounds = 150;

const readers: Readonly<Record<Format, (body: JsonObject, losses: Losses) => NeutralRequest>> = {
  'openai-chat': readChatRequest,
  'openai-responses': readResponsesRequest,
  anthropic: readMessagesRequest,
  gemini: readGeminiRequest,
};

const words = ['Zürich', 'a "quoted" word', 'tab\tand\nnewline', '🇨🇭', '漢字', '\\', '</x>', '0', 'null'] as const;

/** A conversation of what all four formats have, as a request of chat completions. */
const conversation = (random: SeededRandom): JsonObject => {
  const text = (): string => Array.from({ length: 1 + random.below(3) }, () => random.pick(words)).join(' ');
  const messages: JsonObject[] = [];
  if (random.chance(0.7)) messages.push({ role: 'system', content: text() });
  let calls = 0;
  for (let turn = 0; turn <= random.below(4); turn += 1) {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
    const content = random.chance(0.3)
      ? [{ type: 'text', text: text() }, image, { type: 'text', text: text() }]
      : text();
    messages.push({ role: 'user', content });
    if (random.chance(0.6)) {
      const made = Array.from({ length: 1 + random.below(3) }, () => {
        calls += 1;
        const input = { [random.pick(words)]: random.below(100), deep: [{ a: random.pick(words) }, null, true, 1.5] };
        return { id: `call_${calls}`, type: 'function', function: { name: 'look', arguments: JSON.stringify(input) } };
      });
      messages.push({ role: 'assistant', content: random.chance(0.5) ? text() : null, tool_calls: made });
      for (const { id } of made) messages.push({ role: 'tool', tool_call_id: id, content: text() });
    }
    if (random.chance(0.7)) messages.push({ role: 'assistant', content: text() });
  }
  const schema = {
    type: 'object',
    properties: { a: { type: 'string' } },
    required: ['a'],
    additionalProperties: false,
  };
  return {
    model: 'm',
    messages,
    max_completion_tokens: 1 + random.below(9_000),
    ...(random.chance(0.5) ? { temperature: random.below(100) / 100 } : {}),
    ...(random.chance(0.7)
      ? {
          tools: [{ type: 'function', function: { name: 'look', description: text(), parameters: schema } }],
          tool_choice: random.pick(['auto', 'none', 'required', { type: 'function', function: { name: 'look' } }]),
        }
      : {}),
    ...(random.chance(0.3)
      ? { response_format: { type: 'json_schema', json_schema: { name: 'response', schema, strict: true } } }
      : {}),
    ...(random.chance(0.3) ? { stream: true } : {}),
  };
};

const losses = new Losses('request.invalid');

/** What a request says, without where it stood, in what pieces, and without what a format has no word for. */
const meaningOf = (request: NeutralRequest): unknown => {
  const partOf = (part: Part): unknown => {
    switch (part.kind) {
      case 'text':
        return part.text;
      case 'media':
        return part.source;
      case 'call':
        return [part.id, part.name, JSON.parse(argumentText(part.input, '', losses))];
      case 'result':
        return [part.callId, part.content.map(partOf)];
      default:
        return part;
    }
  };
  const turnOf = (turn: Turn): unknown[] => [turn.role, ...turn.parts.map(partOf)];
  // Formats that want turns to alternate join those that do not.
  const turns: unknown[][] = [];
  for (const turn of request.turns.map(turnOf)) {
    const [role, ...parts] = turn;
    if (turns.at(-1)?.[0] === role) turns.at(-1)?.push(...parts);
    else turns.push(turn);
  }
  const choice = request.toolChoice;
  return {
    system: request.system.map((part) => part.text),
    turns,
    tools: request.tools.map(({ name, description, schema }) => ({ name, description, schema })),
    choice: choice === null ? null : { ...choice, at: null },
    output: request.output?.kind === 'schema' ? request.output.schema : null,
    cap: request.options.maxOutputTokens,
    temperature: request.options.temperature,
  };
};

for (const [from, to] of pairs)
  test(`[R-formats-round-trip] a request of ${from} comes back from ${to} with all that both can say`, () => {
    const random = new SeededRandom(20_260_401);
    for (let round = 0; round < rounds; round += 1) {
      const chat = conversation(random);
      const source = from === 'openai-chat' ? chat : translateRequest('openai-chat', from, chat, 'm').value;
      const there = translateRequest(from, to, source, 'm');
      const back = translateRequest(to, from, there.value, 'm');
      assert.deepEqual(there.dropped, [], `round ${round}`);
      assert.deepEqual(
        meaningOf(readers[from](back.value, losses)),
        meaningOf(readers[from](source, losses)),
        `${round}`,
      );
    }
  });

const streamReaders: Readonly<Record<Format, () => StreamReader>> = {
  'openai-chat': () => new ChatStreamReader(losses),
  'openai-responses': () => new ResponsesStreamReader(losses),
  anthropic: () => new MessagesStreamReader(losses),
  gemini: () => new GeminiStreamReader(losses),
};

const head = { id: 'x', model: 'm', createdSeconds: 1 };
const streamWriters: Readonly<Record<Format, () => StreamWriter>> = {
  'openai-chat': () => new ChatStreamWriter(losses, head, true),
  'openai-responses': () => new ResponsesStreamWriter(losses, head),
  anthropic: () => new MessagesStreamWriter(losses, head),
  gemini: () => new GeminiStreamWriter(losses, head),
};

/** An answer of text, thoughts and calls, in pieces. */
const answer = (random: SeededRandom): NeutralEvent[] => {
  const events: NeutralEvent[] = [{ kind: 'start', id: 'answer_1', model: 'model-1', createdSeconds: 5 }];
  const pieces = (text: string): string[] => text.match(/.{1,4}/gsu) ?? [];
  let call = 0;
  if (random.chance(0.5)) {
    for (const text of pieces('I think 🇨🇭 about it')) events.push({ kind: 'thinking', choice: 0, text });
    events.push({ kind: 'signature', choice: 0, signature: { origin: 'anthropic', id: '', value: 'EqQBCkgIARAB' } });
  }
  if (random.chance(0.8)) {
    for (const text of pieces(`${random.pick(words)} and ${random.pick(words)}`))
      events.push({ kind: 'text', choice: 0, text });
    events.push({ kind: 'block-end', choice: 0 });
  }
  for (; call < random.below(4); call += 1) {
    const input = JSON.stringify({ word: random.pick(words), n: random.below(10) });
    events.push({ kind: 'call', choice: 0, call, id: `call_${call}`, name: 'look', custom: false, signature: null });
    for (const text of pieces(input)) events.push({ kind: 'arguments', call, text });
    events.push({ kind: 'call-end', call });
  }
  const reason: StopReason = call > 0 ? 'calls' : random.pick(['stop', 'length']);
  const usage = {
    inputTokens: random.below(500),
    cacheReadTokens: random.below(500),
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    outputTokens: 300,
    reasoningTokens: random.below(300),
  };
  events.push({ kind: 'usage', usage }, { kind: 'stop', choice: 0, stop: { reason, sequence: null } }, { kind: 'end' });
  return events;
};

/** What a stream said in the end. */
const heard = (events: Iterable<NeutralEvent>): unknown => {
  const said = { text: '', thinking: '', signatures: [] as string[], calls: [] as [string, string, string][] };
  const rest: Record<string, unknown> = {};
  for (const event of events) {
    if (event.kind === 'text') said.text += event.text;
    else if (event.kind === 'thinking') said.thinking += event.text;
    else if (event.kind === 'signature') said.signatures.push(event.signature.value);
    else if (event.kind === 'call') said.calls.push([event.id, event.name, '']);
    else if (event.kind === 'arguments') {
      const call = said.calls[event.call];
      if (call !== undefined) call[2] += event.text;
    } else if (event.kind === 'usage') rest.usage = event.usage;
    else if (event.kind === 'stop') rest.stop = event.stop.reason;
    else if (event.kind === 'end') rest.ended = true;
    else if (event.kind === 'start') rest.model = event.model;
  }
  return { ...said, ...rest };
};

const written = (format: Format, events: readonly NeutralEvent[]): SseEvent[] => {
  const writer = streamWriters[format]();
  return events.flatMap((event) => writer.write(event));
};

const read = (format: Format, events: readonly SseEvent[]): NeutralEvent[] => {
  const reader = streamReaders[format]();
  return [...events.flatMap((event) => reader.read(event)), ...reader.end()];
};

for (const format of formats)
  test(`[R-formats-round-trip] a stream written as ${format} is read as it was`, () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < rounds; round += 1) {
      const events = answer(random);
      assert.deepEqual(heard(read(format, written(format, events))), heard(events), `round ${round}`);
    }
  });

for (const format of formats)
  test(`[R-usage-read] the usage of a stream of ${format} is read in passing`, () => {
    const random = new SeededRandom(11);
    for (let round = 0; round < rounds; round += 1) {
      const events = answer(random);
      const reader = usageReader(format);
      const sent = written(format, events);
      for (const event of sent) reader.push(event);
      const usage = events.find((event) => event.kind === 'usage');
      assert.deepEqual(reader.usage, usage?.usage, `round ${round}`);
      assert.equal(reader.finished, true);
      assert.equal(reader.responseModel, 'model-1');
      assert.equal(reader.error, null);
      const hasContent = events.some(
        (event) => event.kind === 'text' || event.kind === 'thinking' || event.kind === 'call',
      );
      assert.equal(reader.hasContent, hasContent, JSON.stringify(sent));
    }
  });

for (const [from, to] of pairs)
  test(`[R-formats-round-trip] an answer of ${from} comes back from ${to}`, () => {
    const random = new SeededRandom(99);
    for (let round = 0; round < rounds; round += 1) {
      const call = (i: number): JsonObject => ({
        id: `call_${i}`,
        type: 'function',
        function: { name: 'look', arguments: JSON.stringify({ word: random.pick(words) }) },
      });
      const calls = Array.from({ length: random.below(3) }, (_, i) => call(i));
      const reading = random.below(50);
      const chat = {
        id: 'answer_1',
        model: 'model-1',
        object: 'chat.completion',
        created: 0,
        choices: [
          {
            index: 0,
            message: {
              role: 'assistant',
              content: random.pick(words),
              refusal: null,
              ...(calls.length > 0 ? { tool_calls: calls } : {}),
            },
            logprobs: null,
            finish_reason: calls.length > 0 ? 'tool_calls' : random.pick(['stop', 'length']),
          },
        ],
        usage: {
          prompt_tokens: 50 + reading,
          completion_tokens: 20,
          total_tokens: 70 + reading,
          prompt_tokens_details: { cached_tokens: reading },
          completion_tokens_details: { reasoning_tokens: random.below(20) },
        },
      };
      const source = from === 'openai-chat' ? chat : translateResponse('openai-chat', from, chat, 'm').value;
      const there = translateResponse(from, to, source, 'm');
      assert.deepEqual(there.dropped, []);
      const back = translateResponse(to, from, there.value, 'm', { createdSeconds: 0 });
      assert.deepEqual(back.value, source, `round ${round}`);
    }
  });

test('calls whose pieces are interleaved keep their own arguments', () => {
  const chunk = (delta: JsonObject, finish: string | null = null): SseEvent => ({
    event: null,
    data: JSON.stringify({ id: 'c', model: 'm', created: 1, choices: [{ index: 0, delta, finish_reason: finish }] }),
  });
  const begin = (index: number): JsonObject => ({
    index,
    id: `call_${index}`,
    function: { name: 'look', arguments: '{"a"' },
  });
  const rest = (index: number): JsonObject => ({ index, function: { arguments: `:${index}}` } });
  const stream = [
    chunk({ tool_calls: [begin(0)] }),
    chunk({ tool_calls: [begin(1)] }),
    chunk({ tool_calls: [rest(0)] }),
    chunk({ tool_calls: [rest(1)] }),
    chunk({}, 'tool_calls'),
    { event: null, data: '[DONE]' },
  ];
  for (const to of formats) {
    const calls: CallPart['id'][][] = [];
    for (const event of read(to, written(to, read('openai-chat', stream)))) {
      if (event.kind === 'call') calls.push([event.id, '']);
      else if (event.kind === 'arguments') calls[event.call]?.splice(1, 1, `${calls[event.call]?.[1]}${event.text}`);
    }
    assert.deepEqual(
      calls,
      [
        ['call_0', '{"a":0}'],
        ['call_1', '{"a":1}'],
      ],
      to,
    );
  }
});
