import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isId, systemRandom } from '@holdfast/core';
import { hashSecret, keyHint, newKey, parseKey } from './key-text.ts';

test('a key parses into what it was made of', () => {
  const { id, text, hash } = newKey(systemRandom);
  assert.ok(isId('key', id));
  assert.match(text.reveal(), /^hf_[0-9a-hjkmnp-tv-z]{26}_[0-9a-hjkmnp-tv-z]{32}$/);
  const parsed = parseKey(text.reveal());
  assert.equal(parsed?.id, id);
  assert.deepEqual(hashSecret(parsed?.secret ?? ''), hash);
});

test('[R-secrets-stay-secret] the hint of a key holds nothing of its secret', () => {
  const { id, text } = newKey(systemRandom);
  assert.ok(!keyHint(id).includes(text.reveal().slice(-32)));
  assert.ok(text.reveal().startsWith(keyHint(id).slice(0, -1)));
});

test('what is no key is refused before anybody looks it up', () => {
  const key = newKey(systemRandom).text.reveal();
  const bad = ['', 'hf_', key.slice(0, -1), `${key}0`, key.toUpperCase(), ` ${key}`, `${key}\n`, key.replace('_', '-')];
  for (const text of [...bad, 'x'.repeat(1_000_000)]) assert.equal(parseKey(text), null, text.slice(0, 80));
});
