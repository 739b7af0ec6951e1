import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Format, JsonObject, SseEvent, Usage } from './format.ts';
import { eventsOf, readDocuments } from './golden-files.suite.ts';
import { usageOf, usageReader } from './usage.ts';

const counts = (usage: Usage | null): number[] | null =>
  usage === null
    ? null
    : [
        usage.inputTokens,
        usage.cacheReadTokens,
        usage.cacheWrite5mTokens,
        usage.cacheWrite1hTokens,
        usage.outputTokens,
        usage.reasoningTokens,
      ];

test('[R-usage-read] cached, written and reasoning tokens are told apart in whole answers', async () => {
  const expected: readonly (readonly [Format, readonly number[], string])[] = [
    ['openai-chat', [86, 1920, 0, 0, 300, 64], 'gpt-5.4-2026-03-05'],
    ['openai-responses', [16, 1000, 20, 0, 87, 64], 'gpt-5.4-2026-03-05'],
    ['anthropic', [12, 2000, 100, 200, 6, 0], 'claude-opus-5-20260401'],
    ['gemini', [8, 1000, 0, 0, 96, 90], 'gemini-3-pro'],
  ];
  for (const [format, usage, model] of expected) {
    const { plain } = (await readDocuments(format)).answers;
    assert.ok(plain);
    const read = usageOf(format, plain);
    assert.deepEqual(counts(read.usage), usage, format);
    assert.equal(read.responseModel, model);
  }
});

test('[R-usage-read] endpoints without a conversation have usage too', () => {
  const of = (format: Parameters<typeof usageOf>[0], body: JsonObject): number[] | null =>
    counts(usageOf(format, body).usage);
  assert.deepEqual(of('openai-embeddings', { usage: { prompt_tokens: 8, total_tokens: 8 } }), [8, 0, 0, 0, 0, 0]);
  const image = {
    usage: { input_tokens: 50, output_tokens: 4_160, total_tokens: 4_210, input_tokens_details: { text_tokens: 50 } },
  };
  assert.deepEqual(of('openai-images', image), [50, 0, 0, 0, 4_160, 0]);
  assert.deepEqual(of('openai-audio', { text: 'hi', usage: { type: 'duration', seconds: 9 } }), [0, 0, 0, 0, 0, 0]);
  assert.deepEqual(of('gemini-embed', { usageMetadata: { promptTokenCount: 5 } }), [5, 0, 0, 0, 0, 0]);
  assert.equal(of('gemini-embed', { embedding: { values: [1] } }), null);
  assert.equal(of('anthropic-count', { input_tokens: 14 }), null);
});

test('[R-usage-read] servers that hide reasoning in the total are paid for it', () => {
  const usage = {
    prompt_tokens: 10,
    completion_tokens: 5,
    total_tokens: 45,
    completion_tokens_details: { reasoning_tokens: 30 },
  };
  assert.deepEqual(counts(usageOf('openai-chat', { usage }).usage), [10, 0, 0, 0, 35, 30]);
});

const watch = (format: Format, events: readonly SseEvent[]): unknown => {
  const reader = usageReader(format);
  for (const event of events) reader.push(event);
  const { usage, hasContent, finished, responseModel, error } = reader;
  return { usage: counts(usage), hasContent, finished, responseModel, error };
};

test('[R-usage-read] an error inside a stream is seen, and what was used until then', async () => {
  const of = async (format: Format, name: string): Promise<unknown> => {
    const stream = (await readDocuments(format)).streams[name];
    assert.ok(stream);
    return watch(format, eventsOf(stream));
  };
  const seen = { hasContent: true, finished: true };
  assert.deepEqual(await of('anthropic', 'failure'), {
    ...seen,
    usage: [30, 0, 0, 0, 1, 0],
    responseModel: 'claude-opus-5',
    error: { status: 529, message: 'Overloaded' },
  });
  assert.deepEqual(await of('gemini', 'failure'), {
    ...seen,
    usage: null,
    responseModel: 'gemini-3-pro',
    error: { status: 503, message: 'The model is overloaded.' },
  });
  assert.deepEqual(await of('openai-chat', 'failure'), {
    ...seen,
    usage: null,
    responseModel: 'gpt-5.4',
    error: { status: 500, message: 'The server had an error while processing your request.' },
  });
  assert.deepEqual(await of('openai-responses', 'failure'), {
    ...seen,
    usage: null,
    responseModel: 'gpt-5.4',
    error: { status: 429, message: 'Rate limit reached.' },
  });
});

test('[R-usage-read] a stream that breaks off has not finished, and one without content has none', async () => {
  for (const format of ['openai-chat', 'anthropic', 'gemini'] as const) {
    const stream = (await readDocuments(format)).streams['broken off'];
    assert.ok(stream);
    const reader = usageReader(format);
    const [first, ...others] = eventsOf(stream);
    assert.ok(first);
    reader.push(first);
    assert.equal(reader.hasContent, format !== 'anthropic', format);
    for (const event of others) reader.push(event);
    assert.deepEqual([reader.hasContent, reader.finished, reader.error], [true, false, null], format);
  }
});

test('words in what the model wrote are not taken for usage', () => {
  const content = JSON.stringify('"usage":{"prompt_tokens":99} "finish_reason":"stop" "error"');
  const chunk = (text: string): SseEvent => ({
    event: null,
    data: `{"model":"m","choices":[{"index":0,"delta":{"content":${text}},"finish_reason":null}]}`,
  });
  assert.deepEqual(watch('openai-chat', [chunk('"a"'), chunk(content)]), {
    usage: null,
    hasContent: true,
    finished: false,
    responseModel: 'm',
    error: null,
  });
});
