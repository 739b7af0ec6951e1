import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, newSpanId, newTraceId, type SpanRecord, silentLog } from '@holdfast/core';
import { SpanQueue, type SpanQueueLimits } from './span-queue.ts';
import type { SpanRow } from './span-row.ts';

const span = (over: Partial<SpanRecord> = {}): SpanRecord => ({
  traceId: newTraceId(),
  spanId: newSpanId(),
  parentSpanId: null,
  workspaceId: 'ws_1',
  kind: 'tool',
  name: 'exec',
  startMs: 1,
  endMs: 2,
  status: 'ok',
  statusMessage: null,
  attributes: {},
  inputTokens: null,
  outputTokens: null,
  costMicroUsd: null,
  ...over,
});

const lost = new Error('lost');

const queueWith = (insert: (rows: readonly SpanRow[]) => Promise<void>, limits: Partial<SpanQueueLimits> = {}) => {
  const clock = new ManualClock();
  const queue = new SpanQueue({
    insert,
    isTransient: (e) => e === lost,
    clock,
    log: silentLog,
    limits: { maxQueued: 10, maxBatch: 4, flushMs: 200, maxTries: 3, ...limits },
  });
  return { clock, queue };
};

/** Lets everything that is ready run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a full batch goes at once, the rest after the flush time', async () => {
  const batches: number[] = [];
  const { clock, queue } = queueWith(async (rows) => void batches.push(rows.length));
  for (let i = 0; i < 4; i += 1) queue.emit(span());
  await settle();
  assert.deepEqual(batches, [4]);
  queue.emit(span());
  clock.advance(199);
  await settle();
  assert.deepEqual(batches, [4]);
  clock.advance(1);
  await settle();
  assert.deepEqual(batches, [4, 1]);
});

test('a full queue sheds with a count, counts what is being written, and never blocks', async () => {
  const gate = Promise.withResolvers<void>();
  const { queue } = queueWith(() => gate.promise);
  const taken = Array.from({ length: 15 }, () => queue.offer(span()));
  assert.equal(taken.filter(Boolean).length, 10);
  assert.deepEqual(queue.counts, { queued: 10, written: 0, shed: 5, rejected: 0 });
  gate.resolve();
  await queue.flush();
  assert.deepEqual(queue.counts, { queued: 0, written: 10, shed: 5, rejected: 0 });
});

test('a lost connection is tried again, with growing pauses, then given up', async () => {
  let tries = 0;
  const { clock, queue } = queueWith(async () => {
    tries += 1;
    throw lost;
  });
  queue.emit(span());
  const flushed = queue.flush();
  await settle();
  assert.equal(tries, 1);
  clock.advance(100);
  await settle();
  assert.equal(tries, 2);
  clock.advance(100);
  await settle();
  assert.equal(tries, 2);
  clock.advance(100);
  await flushed;
  assert.deepEqual([tries, queue.counts.rejected], [3, 1]);
});

test('one row that cannot be stored does not take its batch along', async () => {
  const stored: unknown[] = [];
  const { queue } = queueWith(async (rows) => {
    if (rows.some((r) => r.name === 'bad')) throw new Error('no');
    stored.push(...rows.map((r) => r.name));
  });
  for (const name of ['a', 'bad', 'b']) queue.emit(span({ name }));
  await queue.flush();
  assert.deepEqual(stored, ['a', 'b']);
  assert.deepEqual(queue.counts, { queued: 0, written: 2, shed: 0, rejected: 1 });
});

test('spans with impossible ids or times are rejected, long or hostile text is cut and cleaned', async () => {
  const rows: SpanRow[] = [];
  const { queue } = queueWith(async (batch) => void rows.push(...batch), { maxQueued: 100 });
  const bad = [{ traceId: 'x' }, { spanId: '0'.repeat(16) }, { startMs: Number.NaN }, { endMs: Infinity }];
  for (const over of bad) assert.equal(queue.offer(span(over)), false);
  assert.equal(queue.counts.rejected, bad.length);
  const attributes = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, i]));
  queue.emit(
    span({
      name: `${'n'.repeat(10_000)}`,
      statusMessage: 'a\u0000b\ud800',
      attributes: { nan: Number.NaN, long: 'x'.repeat(100_000), ...attributes },
      endMs: 0,
      inputTokens: -5,
      costMicroUsd: 1.5,
    }),
  );
  await queue.flush();
  const [row] = rows;
  assert.equal(row?.name.length, 256);
  assert.equal(row?.status_message, 'a\ufffdb\ufffd');
  assert.equal(row?.end_ms, 1);
  assert.deepEqual([row?.input_tokens, row?.cost_micro_usd], [null, null]);
  const kept: unknown = row?.attributes ?? '';
  assert.ok(typeof kept === 'object' && kept !== null);
  assert.equal(Object.keys(kept).length, 64);
  assert.equal(Reflect.get(kept, 'nan'), null);
  assert.equal(Reflect.get(kept, 'long').length, 8_192);
});

test('closing writes what is left and sheds what comes later', async () => {
  let written = 0;
  const { queue } = queueWith(async (rows) => {
    written += rows.length;
  });
  queue.emit(span());
  await queue.close();
  queue.emit(span());
  assert.equal(written, 1);
  assert.equal(queue.counts.shed, 1);
});
