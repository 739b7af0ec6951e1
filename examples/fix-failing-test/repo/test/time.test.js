import assert from 'node:assert/strict';
import { formatTime, parseTime } from '../src/time.js';
import { test } from './suite.js';

test('reads hours and minutes', () => {
  assert.equal(parseTime('00:00'), 0);
  assert.equal(parseTime('09:30'), 570);
  assert.equal(parseTime('24:00'), 1440);
});

test('refuses what is not a time of day', () => {
  for (const text of ['9:30', '12:60', '24:01', 'noon', '']) assert.throws(() => parseTime(text), RangeError);
});

test('writes what it reads', () => {
  for (const text of ['00:00', '07:05', '23:59', '24:00']) assert.equal(formatTime(parseTime(text)), text);
});
