import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { formats } from './format.ts';
import { eventsOf, goldenOf, goldenPath, pairs, readDocuments, translateStream } from './golden-files.suite.ts';
import { translateRequest } from './translate.ts';

for (const [from, to] of pairs)
  test(`[R-formats-golden] ${from} becomes ${to} as its golden file has it`, async () => {
    const golden: unknown = JSON.parse(await readFile(goldenPath(from, to), 'utf8'));
    // Through JSON, for that is what leaves the gateway.
    assert.deepEqual(JSON.parse(JSON.stringify(goldenOf(from, to, await readDocuments(from)))), golden);
  });

test('every format has documents of every kind', async () => {
  for (const format of formats) {
    const documents = await readDocuments(format);
    for (const name of ['plain', 'tools', 'structured', 'media', 'thinking'])
      assert.ok(documents.requests[name], `${format}: no request "${name}"`);
    for (const name of ['plain', 'tools']) assert.ok(documents.answers[name], `${format}: no answer "${name}"`);
    for (const name of ['text', 'tools', 'failure'])
      assert.ok(documents.streams[name], `${format}: no stream "${name}"`);
  }
});

test('a translation leaves its source as it was', async () => {
  for (const [from, to] of pairs) {
    const documents = await readDocuments(from);
    const before = JSON.stringify(documents);
    goldenOf(from, to, documents);
    assert.equal(JSON.stringify(documents), before, `${from} to ${to}`);
  }
});

test('[R-formats-not-carried] every request that loses something names it, in what a header may carry', async () => {
  let named = 0;
  for (const [from, to] of pairs)
    for (const body of Object.values((await readDocuments(from)).requests)) {
      const { dropped } = translateRequest(from, to, { ...body, 'x-own, häader\r\n': 1, unknown_to_all: true }, 'm');
      assert.ok(dropped.includes('unknown_to_all'), `${from} to ${to}: ${dropped.join()}`);
      for (const path of dropped) assert.match(path, /^[!-+\--~]{1,128}$/);
      assert.ok(dropped.length <= 33);
      named += dropped.length;
    }
  assert.ok(named > 100);
});

test('a stream says its usage to those who asked only', async () => {
  const { text } = (await readDocuments('anthropic')).streams;
  assert.ok(text);
  const bare = translateStream('anthropic', 'openai-chat', eventsOf(text), false).value.map(({ data }) => data);
  assert.ok(bare.every((data) => !data.includes('"usage"')));
  assert.ok(bare.every((data) => data === '[DONE]' || JSON.parse(data).choices.length === 1));
});
