import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembleTrace, type FlatSpan } from './trace-assembly.ts';

const span = (spanId: string, parentSpanId: string | null, startMs: number, endMs: number): FlatSpan => ({
  spanId,
  parentSpanId,
  kind: 'tool',
  name: spanId,
  startMs,
  endMs,
  status: 'ok',
  statusMessage: null,
  attributes: {},
  inputTokens: null,
  outputTokens: null,
  costMicroUsd: null,
});

const shape = (spans: FlatSpan[]): string[] =>
  assembleTrace(spans).map((s) => `${'-'.repeat(s.depth)}${s.spanId}${s.orphan ? '?' : ''}`);

test('children follow their parent, siblings by start', () => {
  const spans = [span('c', 'a', 5, 6), span('a', null, 0, 10), span('d', 'b', 2, 3), span('b', 'a', 1, 4)];
  assert.deepEqual(shape(spans), ['a', '-b', '--d', '-c']);
});

test('a span without its parent is shown as an orphan with its own children', () => {
  assert.deepEqual(shape([span('a', null, 0, 9), span('x', 'gone', 3, 8), span('y', 'x', 4, 5)]), ['a', 'x?', '-y']);
});

test('a cycle is broken at its earliest span', () => {
  assert.deepEqual(shape([span('b', 'a', 2, 3), span('a', 'b', 1, 4), span('r', null, 0, 9)]), ['r', 'a?', '-b']);
});

test('own time is what no child covers, however children overlap or stick out', () => {
  const [root] = assembleTrace([
    span('r', null, 0, 100),
    span('a', 'r', 10, 30),
    span('b', 'r', 20, 40),
    span('inside a', 'r', 12, 14),
    span('late', 'r', 90, 150),
    span('early', 'r', -50, 5),
  ]);
  assert.equal(root?.durationMs, 100);
  assert.equal(root?.childMs, 30 + 10 + 5);
  assert.equal(root?.ownMs, 55);
});

test('a chain as deep as a trace may be long does not exhaust the stack', () => {
  const chain = Array.from({ length: 10_000 }, (_, i) => span(`s${i}`, i === 0 ? null : `s${i - 1}`, i, 20_000));
  const placed = assembleTrace(chain);
  assert.equal(placed.length, 10_000);
  assert.equal(placed.at(-1)?.depth, 9_999);
});
