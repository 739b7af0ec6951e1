import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import { packSnapshot, unpackSnapshot } from './snapshot.ts';

const state = Uint8Array.from({ length: 300 }, (_, i) => i % 251);
const index = Uint8Array.from({ length: 200 }, (_, i) => (i * 7) % 253);

const isCorrupt = (bytes: Buffer): boolean => {
  try {
    unpackSnapshot(bytes);
    return false;
  } catch (error) {
    return error instanceof HoldfastError && error.code === 'sandbox.standby_corrupt';
  }
};

test('a snapshot is read as it was written', () => {
  for (const [s, i] of [
    [state, index],
    [new Uint8Array(), index],
    [state, new Uint8Array()],
  ] as const) {
    const read = unpackSnapshot(packSnapshot({ state: s, index: i }));
    assert.deepEqual([Buffer.from(read.state), Buffer.from(read.index)], [Buffer.from(s), Buffer.from(i)]);
  }
});

test('[R-standby-checksums] every flipped bit, missing byte and byte too many is found', () => {
  const whole = packSnapshot({ state, index });
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const damaged = Buffer.from(whole);
    damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.ok(isCorrupt(damaged), `bit ${bit}`);
  }
  for (let length = 0; length < whole.length; length++)
    assert.ok(isCorrupt(whole.subarray(0, length)), `${length} bytes`);
  assert.ok(isCorrupt(Buffer.concat([whole, Buffer.of(0)])));
});
