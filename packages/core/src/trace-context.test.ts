import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTraceparent, newSpanId, newTraceId, parseTraceparent } from './trace-context.ts';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const span = '00f067aa0ba902b7';

test('traceparent survives a round trip', () => {
  for (const sampled of [true, false]) {
    const context = { traceId: newTraceId(), spanId: newSpanId(), sampled };
    assert.deepEqual(parseTraceparent(formatTraceparent(context)), context);
  }
  assert.deepEqual(parseTraceparent(`00-${trace}-${span}-01`), { traceId: trace, spanId: span, sampled: true });
});

test('a later version may carry more, version 00 may not', () => {
  assert.deepEqual(parseTraceparent(`01-${trace}-${span}-03-more`)?.sampled, true);
  assert.equal(parseTraceparent(`00-${trace}-${span}-01-more`), null);
});

test('what is not valid is refused', () => {
  const bad = [
    '',
    'x',
    `ff-${trace}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace}-${span}`,
    `00-${trace.slice(1)}-${span}-01`,
    `01-${trace}-${span}-01-${'x'.repeat(1000)}`,
  ];
  for (const header of bad) assert.equal(parseTraceparent(header), null, header);
});

test('an all-zero id is never made', () => {
  let calls = 0;
  const random = (length: number): Uint8Array => {
    calls += 1;
    return new Uint8Array(length).fill(calls - 1);
  };
  assert.equal(newSpanId(random), '01'.repeat(8));
});
