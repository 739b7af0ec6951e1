import assert from 'node:assert/strict';
import { formatInterval, merge, parseInterval, subtract } from '../src/interval.js';
import { test } from './suite.js';

const all = (...texts) => texts.map(parseInterval);
const text = (intervals) => intervals.map(formatInterval);

test('refuses an interval that ends before it starts', () => {
  assert.throws(() => parseInterval('10:00-09:00'), /ends before it starts/);
  assert.throws(() => parseInterval('10:00-10:00'), /ends before it starts/);
});

test('merge sorts and keeps what is apart', () => {
  assert.deepEqual(text(merge(all('13:00-14:00', '09:00-10:00'))), ['09:00-10:00', '13:00-14:00']);
});

test('merge joins what overlaps or touches', () => {
  assert.deepEqual(text(merge(all('09:00-10:30', '10:00-11:00', '11:00-12:00'))), ['09:00-12:00']);
});

test('merge does not change its input', () => {
  const input = all('09:00-10:00', '09:30-11:00');
  merge(input);
  assert.deepEqual(text(input), ['09:00-10:00', '09:30-11:00']);
});

test('merge keeps the end of the longer one when the other lies within it', () => {
  assert.deepEqual(text(merge(all('09:00-12:00', '10:00-10:30'))), ['09:00-12:00']);
});

test('subtract leaves the gaps', () => {
  assert.deepEqual(text(subtract(parseInterval('08:00-12:00'), all('09:00-10:00', '10:30-11:00'))), [
    '08:00-09:00',
    '10:00-10:30',
    '11:00-12:00',
  ]);
});

test('subtract ignores what lies outside', () => {
  assert.deepEqual(text(subtract(parseInterval('09:00-10:00'), all('07:00-09:00', '10:00-11:00'))), ['09:00-10:00']);
});
