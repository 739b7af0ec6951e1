import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import type { CachePolicy, StoredAnswer } from './cache.ts';
import { cacheHeaderOf, cachePlanOf } from './cache-plan.ts';
import { replayOf } from './replay.ts';

const policy: CachePolicy = {
  exactTtlSeconds: 60,
  semantic: { threshold: 0.9, embeddingModel: 'embed', ttlSeconds: 120 },
};
const none: CachePolicy = { exactTtlSeconds: null, semantic: null };

test('without a word of the route or the caller there is no cache', () => {
  assert.equal(cachePlanOf(null, undefined), null);
  assert.equal(cachePlanOf(none, undefined), null);
  assert.equal(cachePlanOf(policy, 'off'), null);
  assert.deepEqual(cachePlanOf(policy, undefined), { ...policy, read: true });
});

test('the caller chooses, and what the caller does not say is the route’s', () => {
  assert.deepEqual(cachePlanOf(null, 'exact'), { exactTtlSeconds: 3_600, semantic: null, read: true });
  assert.deepEqual(cachePlanOf(null, 'exact; ttl=5'), { exactTtlSeconds: 5, semantic: null, read: true });
  assert.deepEqual(cachePlanOf(policy, 'exact'), { exactTtlSeconds: 60, semantic: null, read: true });
  assert.deepEqual(cachePlanOf(policy, 'semantic; threshold=0.5'), {
    exactTtlSeconds: null,
    semantic: { threshold: 0.5, embeddingModel: 'embed', ttlSeconds: 120 },
    read: true,
  });
  assert.deepEqual(cachePlanOf(policy, 'refresh'), { ...policy, read: false });
  assert.deepEqual(cachePlanOf(null, 'refresh'), { exactTtlSeconds: 3_600, semantic: null, read: false });
  assert.deepEqual(cachePlanOf(null, 'semantic; embedding-model=e')?.semantic?.threshold, 0.95);
});

test('a header that makes no sense is refused', () => {
  const headers = [
    'maybe',
    'exact; ttl=0',
    'exact; ttl=x',
    'exact; ttl=',
    'semantic',
    'semantic; threshold=2',
    'ttl',
    'exact=1',
  ];
  for (const header of [...headers, 'x'.repeat(600)])
    assert.throws(
      () => cachePlanOf(null, header),
      (error) => error instanceof HoldfastError && error.code === 'request.invalid',
      header,
    );
});

const stored = (body: string, streamed: boolean): StoredAnswer => ({
  ...{ status: 200, headers: {}, usage: null, streamed },
  body: new TextEncoder().encode(body),
});

const pieces = (body: string, streamed: boolean): string[] =>
  [...replayOf(stored(body, streamed))].map((piece) => new TextDecoder().decode(piece));

test('a stored stream is sent event by event, byte for byte, and a document at once', () => {
  const streams = [
    'data: a\n\ndata: b\n\n',
    'event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n',
    'data: a\n\n: ping\n\ndata: [DONE]\n\n',
    'data: cut',
    '',
  ];
  for (const stream of streams) assert.equal(pieces(stream, true).join(''), stream);
  assert.deepEqual(pieces('data: a\n\ndata: b\n\n', true), ['data: a\n\n', 'data: b\n\n']);
  assert.equal(pieces('event: x\r\ndata: a\r\n\r\ndata: b\r\n\r\n', true).length, 2);
  assert.deepEqual(pieces('{"a":\n\n1}', false), ['{"a":\n\n1}']);
});

test('the answer says what became of the cache', () => {
  assert.equal(cacheHeaderOf(null), 'miss');
  const hit = { kind: 'semantic', similarity: 0.98765, ageSeconds: 12.4, answer: stored('', false) } as const;
  assert.equal(cacheHeaderOf(hit), 'hit; kind=semantic; similarity=0.9877; age=12');
});
