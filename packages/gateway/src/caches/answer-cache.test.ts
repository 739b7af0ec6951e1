import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ManualClock, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openIdentity } from '@holdfast/identity';
import { openTestDatabases } from '../test-database.ts';
import { openAnswerCache } from './answer-cache.ts';
import type { AnswerCache, CacheLookup, CachePlan, CacheRequest, EmbedText, StoredAnswer } from './cache.ts';

let opened: Awaited<ReturnType<typeof openTestDatabases>>;
let first: Database;
let second: Database;
const caches: AnswerCache[] = [];
let workspaceId: string;
let otherId: string;
const clock = new ManualClock();

const start = (database: Database, limits = {}): AnswerCache => {
  const cache = openAnswerCache({ database, clock, log: silentLog, limits });
  caches.push(cache);
  return cache;
};

before(async () => {
  opened = await openTestDatabases(2);
  [first, second] = [opened.databases[0] ?? assert.fail(), opened.databases[1] ?? assert.fail()];
  const identity = await openIdentity({ database: first, clock: systemClock, log: silentLog });
  workspaceId = (await identity.authenticate((await identity.issueOwnerKey('mine')).reveal())).workspaceId;
  otherId = (await identity.authenticate((await identity.issueOwnerKey('theirs', 'other')).reveal())).workspaceId;
  await identity.close();
});

after(async () => {
  for (const cache of caches) await cache.close();
  await opened[Symbol.asyncDispose]();
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const answerOf = (text: string, more: Partial<StoredAnswer> = {}): StoredAnswer => ({
  ...{ status: 200, headers: { 'content-type': 'application/json' }, streamed: false },
  usage: {
    ...{ inputTokens: 7, cacheReadTokens: 1, cacheWrite5mTokens: 2, cacheWrite1hTokens: 3 },
    ...{ outputTokens: 4, reasoningTokens: 5 },
  },
  body: bytes(text),
  ...more,
});

const requestOf = (content: unknown, more: Partial<CacheRequest> = {}): CacheRequest => ({
  ...{ workspaceId, format: 'openai-chat', endpoint: 'chat.completions', model: 'smart', streamed: false, headers: {} },
  body: {
    model: 'smart',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content },
    ],
  },
  ...more,
});

const exact: CachePlan = { exactTtlSeconds: 60, semantic: null, read: true };
const semantic: CachePlan = {
  exactTtlSeconds: null,
  semantic: { threshold: 0.9, embeddingModel: 'embed', ttlSeconds: 60 },
  read: true,
};

/** Two texts are as near as their letters' counts. */
const letters: EmbedText = async (text) => {
  const counts = new Float32Array(27);
  for (const c of text.toLowerCase()) {
    const at = c.charCodeAt(0) - 97;
    counts[at >= 0 && at < 26 ? at : 26] = (counts[at >= 0 && at < 26 ? at : 26] ?? 0) + 1;
  }
  return counts;
};
const never: EmbedText = () => assert.fail('nothing is embedded');
const signal = new AbortController().signal;

const ask = (cache: AnswerCache, request: CacheRequest, plan = exact, embed = never): Promise<CacheLookup> =>
  cache.lookup(request, plan, embed, signal);

const textOf = ({ hit }: CacheLookup): string | null => (hit === null ? null : Buffer.from(hit.answer.body).toString());

test('[R-cache-scoped] the same request is answered from the cache, in every process, but never to another workspace', async () => {
  const [here, there] = [start(first), start(second)];
  const miss = await ask(here, requestOf('one'));
  assert.equal(miss.hit, null);
  await miss.store(answerOf('"1"'));
  for (const cache of [here, there]) {
    const found = await ask(cache, requestOf('one'));
    assert.equal(textOf(found), '"1"');
    assert.deepEqual([found.hit?.kind, found.hit?.similarity], ['exact', 1]);
    assert.deepEqual(found.hit?.answer.usage, answerOf('').usage);
    assert.deepEqual(found.hit?.answer.headers, { 'content-type': 'application/json' });
    assert.equal(textOf(await ask(cache, requestOf('one', { workspaceId: otherId }))), null);
  }
});

test('whatever decides the answer is compared, and the order of members is not', async () => {
  const cache = start(first);
  const request = requestOf('two', { headers: { 'anthropic-beta': 'a' } });
  await (await ask(cache, request)).store(answerOf('"2"'));
  const { messages, model } = request.body;
  assert.equal(textOf(await ask(cache, { ...request, body: { messages, model } })), '"2"');
  const others: Partial<CacheRequest>[] = [
    { body: { ...request.body, temperature: 0 } },
    { body: { ...request.body, tools: [] } },
    { model: 'cheap' },
    { streamed: true },
    { endpoint: 'responses' },
    { format: 'anthropic' },
    { headers: {} },
  ];
  for (const other of others)
    assert.equal(textOf(await ask(cache, { ...request, ...other })), null, JSON.stringify(other));
});

test('an entry ends with its time, and sooner for whoever asks for fresher ones', async () => {
  const cache = start(first);
  await (await ask(cache, requestOf('three'))).store(answerOf('"3"'));
  clock.advance(30_000);
  const found = await ask(cache, requestOf('three'));
  assert.equal(found.hit?.ageSeconds, 30);
  assert.equal((await ask(cache, requestOf('three'), { ...exact, exactTtlSeconds: 10 })).hit, null);
  clock.advance(30_000);
  assert.equal((await ask(cache, requestOf('three'))).hit, null);
});

test('a refresh asks the model and replaces what was kept', async () => {
  const cache = start(first);
  await (await ask(cache, requestOf('four'))).store(answerOf('"old"'));
  const refresh = await ask(cache, requestOf('four'), { ...exact, read: false });
  assert.equal(refresh.hit, null);
  await refresh.store(answerOf('"new"'));
  assert.equal(textOf(await ask(cache, requestOf('four'))), '"new"');
});

test('errors and answers that are too large are not kept, and the oldest entries make room', async () => {
  const cache = start(second, { maxEntryBytes: 100, maxEntries: 30 });
  await (await ask(cache, requestOf('five'))).store(answerOf('x', { status: 500 }));
  await (await ask(cache, requestOf('six'))).store(answerOf('x'.repeat(101)));
  assert.equal((await ask(cache, requestOf('five'))).hit, null);
  assert.equal((await ask(cache, requestOf('six'))).hit, null);
  const other = (i: number) => requestOf(`many ${i}`, { workspaceId: otherId });
  for (let i = 0; i < 50; i += 1) await (await ask(cache, other(i))).store(answerOf('"x"'));
  assert.equal((await cache.stats(otherId)).entries, 30);
  assert.equal((await ask(cache, other(19))).hit, null);
  assert.notEqual((await ask(cache, other(20))).hit, null);
  const narrow = start(second, { maxBytes: 12 });
  for (let i = 100; i < 150; i += 1) await (await ask(narrow, other(i))).store(answerOf('"x"'));
  assert.deepEqual(await cache.stats(otherId), { entries: 4, bytes: 12, semanticEntries: 0 });
});

test('a purge forgets the entries of a model, or all, of one workspace only', async () => {
  const cache = start(first);
  await cache.purge(workspaceId, null);
  for (const model of ['smart', 'cheap'])
    await (await ask(cache, requestOf('seven', { model }))).store(answerOf('"7"'));
  await cache.purge(otherId, null);
  assert.equal((await cache.stats(workspaceId)).entries, 2);
  assert.equal(await cache.purge(workspaceId, 'smart'), 1);
  assert.equal((await ask(cache, requestOf('seven'))).hit, null);
  assert.notEqual((await ask(cache, requestOf('seven', { model: 'cheap' }))).hit, null);
  assert.equal(await cache.purge(workspaceId, null), 1);
});

test('[R-cache-scoped] a message that means nearly the same is a labelled hit when everything else is equal', async () => {
  const [here, there] = [start(first), start(second)];
  const store = async (content: unknown, text: string, more: Partial<CacheRequest> = {}) =>
    (await ask(here, requestOf(content, more), semantic, letters)).store(answerOf(text));
  await store('where is my parcel', '"parcel"');
  await store('zzz', '"sleep"');
  for (const cache of [here, there]) {
    const near = await ask(cache, requestOf('where is my parcel?'), semantic, letters);
    assert.equal(textOf(near), '"parcel"');
    assert.equal(near.hit?.kind, 'semantic');
    assert.ok((near.hit?.similarity ?? 0) > 0.9 && (near.hit?.similarity ?? 1) < 1);
    const strict = {
      ...semantic,
      semantic: { ...semantic.semantic, threshold: 0.999, embeddingModel: 'embed', ttlSeconds: 60 },
    };
    assert.equal((await ask(cache, requestOf('where is my parcel?'), strict, letters)).hit, null);
    assert.equal((await ask(cache, requestOf('who'), semantic, letters)).hit, null);
    const others: Partial<CacheRequest>[] = [
      { workspaceId: otherId },
      { model: 'cheap' },
      { streamed: true },
      { body: { ...requestOf('where is my parcel?').body, temperature: 0 } },
      {
        body: {
          messages: [
            { role: 'system', content: 'Be rude.' },
            { role: 'user', content: 'where is my parcel?' },
          ],
        },
      },
    ];
    for (const other of others)
      assert.equal(textOf(await ask(cache, requestOf('where is my parcel?', other), semantic, letters)), null);
  }
  // The very same request needs no embedding.
  assert.equal((await ask(here, requestOf('zzz'), semantic, never)).hit?.kind, 'exact');
});

test('what was purged is not found through its vector either', async () => {
  const [here, there] = [start(first), start(second)];
  await (await ask(here, requestOf('what time is it'), semantic, letters)).store(answerOf('"noon"'));
  assert.notEqual((await ask(there, requestOf('what time is it?'), semantic, letters)).hit, null);
  await here.purge(workspaceId, null);
  assert.equal((await ask(there, requestOf('what time is it?'), semantic, letters)).hit, null);
});

test('messages with images and tool results have no meaning to compare', async () => {
  const cache = start(first);
  const image = [
    { type: 'text', text: 'what is this' },
    { type: 'image_url', image_url: { url: 'data:' } },
  ];
  const lookup = await ask(cache, requestOf(image), semantic, never);
  await lookup.store(answerOf('"cat"'));
  assert.equal((await ask(cache, requestOf(image), semantic, never)).hit, null);
});

test('a failing embedding or database is a miss, and not an error', async () => {
  const cache = start(first);
  const broken: EmbedText = () => Promise.reject(new Error('no such model'));
  const lookup = await ask(cache, requestOf('eight'), semantic, broken);
  assert.equal(lookup.hit, null);
  await lookup.store(answerOf('"8"'));
  const foreign = requestOf('nine', { workspaceId: 'ws_that_is_not_there' });
  await (await ask(cache, foreign)).store(answerOf('"9"'));
  assert.equal((await ask(cache, foreign)).hit, null);
  let nested: unknown = 'x';
  for (let i = 0; i < 1_000; i += 1) nested = [nested];
  await (await ask(cache, requestOf(nested))).store(answerOf('"10"'));
});
