import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './clock.ts';
import { base32, isId, newId } from './ids.ts';

test('ids carry their kind and sort by time', () => {
  const clock = new ManualClock();
  const ids = Array.from({ length: 50 }, () => {
    clock.advance(1);
    return newId('sbx', clock);
  });
  assert.deepEqual([...ids].sort(), ids);
  for (const id of ids) assert.match(id, /^sbx_[0-9a-hjkmnp-tv-z]{26}$/);
  assert.equal(new Set(ids).size, 50);
});

test('ids of one millisecond differ', () => {
  const clock = new ManualClock();
  assert.equal(new Set(Array.from({ length: 1000 }, () => newId('req', clock))).size, 1000);
});

test('isId takes its own kind only', () => {
  const id = newId('key');
  assert.equal(isId('key', id), true);
  assert.equal(isId('sbx', id), false);
  for (const bad of ['', 'key_', `${id}x`, id.slice(0, -1), id.toUpperCase(), `key_${'!'.repeat(26)}`, `${id}\n`])
    assert.equal(isId('key', bad), false, JSON.stringify(bad));
});

test('base32 writes five bits a character', () => {
  assert.equal(base32(new Uint8Array([0, 0, 0, 0, 0])), '00000000');
  assert.equal(base32(new Uint8Array([255, 255, 255, 255, 255])), 'zzzzzzzz');
  assert.equal(base32(new Uint8Array([0x80])), 'g0');
  assert.equal(base32(new Uint8Array([0, 1])), '000g');
});
