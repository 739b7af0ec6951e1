import assert from 'node:assert/strict';
import { test } from 'node:test';
import { estimate, unknownTokens } from './estimate.ts';
import type { JsonObject } from './format.ts';
import { formats } from './format.ts';
import { readDocuments } from './golden-files.suite.ts';

const chat = (content: unknown, rest: JsonObject = {}): JsonObject => ({
  messages: [{ role: 'user', content }],
  ...rest,
});

test('[R-estimate-bound] text counts with every byte, in each format', () => {
  const text = 'Grüezi 漢字 🇨🇭 '.repeat(1_000);
  const bytes = Buffer.byteLength(text);
  const bodies: readonly (readonly [Parameters<typeof estimate>[0], JsonObject])[] = [
    ['openai-chat', chat(text)],
    ['openai-responses', { input: text }],
    ['anthropic', { messages: [], system: text }],
    ['gemini', { contents: [{ parts: [{ text }] }] }],
    ['gemini', { system_instruction: { parts: [{ text }] }, contents: [] }],
    ['openai-embeddings', { input: ['a', text] }],
    ['openai-images', { prompt: text }],
    ['openai-audio', { input: text }],
    ['gemini-embed', { content: { parts: [{ text }] } }],
  ];
  for (const [format, body] of bodies) {
    const { inputTokens } = estimate(format, body);
    assert.ok(
      inputTokens >= bytes && inputTokens < bytes * 1.1 + 2_000,
      `${format}: ${inputTokens} for ${bytes} bytes`,
    );
  }
});

test('[R-estimate-bound] a picture is a fixed sum, whatever its size', () => {
  const image = (length: number): JsonObject =>
    chat([{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(length)}` } }]);
  const small = estimate('openai-chat', image(10)).inputTokens;
  assert.equal(estimate('openai-chat', image(1_000_000)).inputTokens, small);
  assert.ok(small > 10_000 && small < 20_000);
  // 48,169 tokens is what gpt-4o-mini counts for eight tiles.
  assert.ok(estimate('openai-chat', { ...image(10), model: 'gpt-4o-mini' }).inputTokens > 48_169);
});

test('[R-estimate-bound] what nobody can measure counts as the longest input there is', () => {
  const unseen: readonly (readonly [Parameters<typeof estimate>[0], JsonObject])[] = [
    ['openai-responses', { input: 'x', previous_response_id: 'resp_1' }],
    ['openai-responses', { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] }],
    ['openai-responses', { input: 'x', tools: [{ type: 'web_search' }] }],
    ['openai-chat', chat([{ type: 'file', file: { file_id: 'file_1' } }])],
    [
      'anthropic',
      { messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'url', url: 'https://x' } }] }] },
    ],
    ['anthropic', { messages: [], tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    ['gemini', { contents: [], cachedContent: 'cachedContents/1' }],
    ['gemini', { contents: [], tools: [{ google_search: {} }] }],
    ['gemini', { contents: [{ parts: [{ fileData: { fileUri: 'gs://x/film.mp4' } }] }] }],
  ];
  for (const [format, body] of unseen)
    assert.ok(estimate(format, body).inputTokens >= unknownTokens, `${format}: ${JSON.stringify(body)}`);
  // Text that only claims to be a picture is still text.
  const hidden = { type: 'image', text: 'x'.repeat(50_000) };
  assert.ok(estimate('anthropic', { messages: [{ role: 'user', content: [hidden] }] }).inputTokens > 50_000);
});

test('caps and choices are read where each format has them', () => {
  const of = (format: Parameters<typeof estimate>[0], body: JsonObject): unknown[] => {
    const { maxOutputTokens, choices } = estimate(format, body);
    return [maxOutputTokens, choices];
  };
  assert.deepEqual(of('openai-chat', chat('x')), [null, 1]);
  assert.deepEqual(of('openai-chat', chat('x', { max_tokens: 7, n: 3 })), [7, 3]);
  assert.deepEqual(of('openai-chat', chat('x', { max_completion_tokens: 9, max_tokens: 7 })), [9, 1]);
  const predicted = of(
    'openai-chat',
    chat('x', { max_tokens: 7, prediction: { type: 'content', content: 'abcdefgh' } }),
  );
  assert.ok(Number(predicted[0]) >= 15, 'a prediction that is wrong is paid like output');
  assert.deepEqual(of('openai-responses', { input: 'x', max_output_tokens: 5 }), [5, 1]);
  assert.deepEqual(of('anthropic', { messages: [], max_tokens: 11 }), [11, 1]);
  assert.deepEqual(of('gemini', { contents: [], generationConfig: { maxOutputTokens: 4, candidateCount: 2 } }), [4, 2]);
  assert.deepEqual(
    of('gemini', { contents: [], generation_config: { max_output_tokens: 4, candidate_count: 2 } }),
    [4, 2],
  );
  assert.deepEqual(of('openai-embeddings', { input: [1, 2, 3] }), [0, 1]);
  assert.deepEqual(of('openai-images', { prompt: 'x', n: 4 }), [null, 4]);
  assert.deepEqual(of('openai-chat', chat('x', { max_tokens: 'many', n: -1 })), [null, 1]);
});

test('an estimate is never far above the bytes of an ordinary request', async () => {
  for (const format of formats) {
    const { plain } = (await readDocuments(format)).requests;
    assert.ok(plain);
    const { inputTokens } = estimate(format, plain);
    assert.ok(inputTokens < JSON.stringify(plain).length + 1_000, `${format}: ${inputTokens}`);
  }
});
