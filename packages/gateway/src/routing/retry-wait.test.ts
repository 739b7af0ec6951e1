import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryAfterMs, retryWaitMs } from './retry-wait.ts';

test('waits grow, are spread over their whole length, and are never shorter than asked for', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 9].map((round) => retryWaitMs(round, 0, () => 1)),
    [250, 500, 1_000, 2_000, 8_000],
  );
  assert.equal(
    retryWaitMs(3, 0, () => 0),
    0,
  );
  assert.equal(
    retryWaitMs(0, 4_000, () => 0.5),
    4_000,
  );
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('2026-11-22T10:00:00Z');
  const cases: [string | undefined, number | null][] = [
    ['7', 7_000],
    ['0', 0],
    ['1.5', 1_500],
    ['Sun, 22 Nov 2026 10:00:30 GMT', 30_000],
    ['Sun, 22 Nov 2026 09:00:00 GMT', 0],
    ['soon', null],
    ['-5', null],
    [undefined, null],
    ['9'.repeat(65), null],
  ];
  for (const [header, wanted] of cases) assert.equal(retryAfterMs(header, now), wanted, header);
});
