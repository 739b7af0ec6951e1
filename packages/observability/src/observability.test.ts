import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { spanInput } from '@holdfast/contract';
import { type HoldfastError, newSpanId, newTraceId, type SpanRecord, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { type Observability, openObservability } from './observability.ts';
import { openTestDatabase } from './test-database.ts';

let database: Database;
let dispose: () => Promise<void>;
let observability: Observability;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  dispose = () => opened[Symbol.asyncDispose]();
  observability = openObservability({ database, clock: systemClock, log: silentLog });
});

after(async () => {
  await observability.close();
  await dispose();
});

const mine = { workspaceId: 'ws_mine' };
const theirs = { workspaceId: 'ws_theirs' };

const span = (over: Partial<SpanRecord> & { traceId: string }): SpanRecord => ({
  spanId: newSpanId(),
  parentSpanId: null,
  workspaceId: mine.workspaceId,
  kind: 'tool',
  name: 'exec',
  startMs: 1_000,
  endMs: 2_000,
  status: 'ok',
  statusMessage: null,
  attributes: {},
  inputTokens: null,
  outputTokens: null,
  costMicroUsd: null,
  ...over,
});

const hasCode =
  (code: string) =>
  (error: HoldfastError): boolean =>
    error.code === code;

test('a trace comes back as its tree, with sums over its model calls', async () => {
  const traceId = newTraceId();
  const root = newSpanId();
  const call = { kind: 'model' as const, inputTokens: 100, outputTokens: 10, costMicroUsd: 7 };
  const child = { traceId, parentSpanId: root };
  observability.sink.emit(span({ ...child, ...call, name: 'chat 2', startMs: 1_500.25, endMs: 1_700 }));
  observability.sink.emit(span({ ...child, ...call, name: 'chat 1', startMs: 1_100, endMs: 1_200 }));
  observability.sink.emit(span({ ...child, name: 'late', startMs: 1_900, status: 'error', statusMessage: 'exit 1' }));
  observability.sink.emit(span({ traceId, parentSpanId: newSpanId(), name: 'lost', startMs: 1_950 }));
  await observability.flush();
  observability.sink.emit(
    span({
      traceId,
      spanId: root,
      name: 'agent',
      kind: 'agent',
      inputTokens: 200,
      attributes: { 'a.b': true, n: 1.5 },
    }),
  );

  const trace = await observability.getTrace(mine, traceId);
  assert.deepEqual(
    trace.spans.map((s) => [s.depth, s.name, s.orphan]),
    [
      [0, 'agent', false],
      [1, 'chat 1', false],
      [1, 'chat 2', false],
      [1, 'late', false],
      [0, 'lost', true],
    ],
  );
  const { spans, ...totals } = trace;
  assert.deepEqual(totals, {
    id: traceId,
    name: 'agent',
    startMs: 1_000,
    endMs: 2_000,
    durationMs: 1_000,
    spanCount: 5,
    errorCount: 1,
    inputTokens: 200,
    outputTokens: 20,
    costMicroUsd: 14,
    omittedSpans: 0,
  });
  const agent = spans[0];
  assert.equal(agent?.childMs, 100 + 199.75 + 100);
  assert.equal(agent?.ownMs, 1_000 - 399.75);
  assert.deepEqual(agent?.attributes, { 'a.b': true, n: 1.5 });
  assert.equal(spans[2]?.startMs, 1_500.25);
});

test('another workspace sees nothing, and may use the same ids', async () => {
  const traceId = newTraceId();
  const spanId = newSpanId();
  observability.sink.emit(span({ traceId, spanId, name: 'mine' }));
  await observability.flush();
  await assert.rejects(observability.getTrace(theirs, traceId), hasCode('trace.not_found'));
  observability.sink.emit(span({ traceId, spanId, name: 'theirs', workspaceId: theirs.workspaceId }));
  assert.equal((await observability.getTrace(theirs, traceId)).name, 'theirs');
  assert.equal((await observability.getTrace(mine, traceId)).name, 'mine');
  assert.deepEqual(
    (await observability.listTraces(theirs, { limit: 10 })).items.map((t) => t.name),
    ['theirs'],
  );
});

test('a span that is sent twice counts once and stays as it was', async () => {
  const traceId = newTraceId();
  const spanId = newSpanId();
  const twice = { traceId, spanId, kind: 'model' as const, inputTokens: 5 };
  observability.sink.emit(span({ ...twice, name: 'first' }));
  observability.sink.emit(span({ ...twice, name: 'same batch' }));
  await observability.flush();
  observability.sink.emit(span({ ...twice, name: 'later batch' }));
  const trace = await observability.getTrace(mine, traceId);
  assert.deepEqual([trace.spanCount, trace.inputTokens, trace.spans[0]?.name], [1, 5, 'first']);
});

test('unknown and malformed ids are not found', async () => {
  for (const id of [newTraceId(), '', 'x'.repeat(10_000), "' or 1=1 --", '\u0000', '0'.repeat(32)])
    await assert.rejects(observability.getTrace(mine, id), hasCode('trace.not_found'));
});

test('traces are listed newest first, page by page, each once', async () => {
  const scope = { workspaceId: 'ws_pages' };
  const ids = Array.from({ length: 25 }, () => newTraceId());
  ids.forEach((traceId, i) => {
    // Some start at the same instant.
    observability.sink.emit(
      span({ traceId, workspaceId: scope.workspaceId, startMs: 1_000 + Math.floor(i / 3) + 0.5 }),
    );
  });
  const seen: string[] = [];
  const starts: number[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await observability.listTraces(scope, { limit: 7, cursor });
    seen.push(...page.items.map((t) => t.id));
    starts.push(...page.items.map((t) => t.startMs));
    cursor = page.cursor ?? undefined;
    pages += 1;
  } while (cursor !== undefined);
  assert.equal(pages, 4);
  assert.deepEqual(seen.toSorted(), ids.toSorted());
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => b - a),
  );
});

test('a made-up cursor is refused', async () => {
  for (const cursor of ['', 'x', '1_', `_${newTraceId()}`, `NaN_${newTraceId()}`, `1_${newTraceId()}_2`])
    await assert.rejects(observability.listTraces(mine, { limit: 5, cursor }), hasCode('request.invalid'));
});

test('a thousand spans written by two writers at once add up', async () => {
  const traceId = newTraceId();
  const other = openObservability({ database, clock: systemClock, log: silentLog, limits: { maxBatch: 50 } });
  for (let i = 0; i < 500; i += 1) {
    observability.sink.emit(span({ traceId, kind: 'model', inputTokens: 1, name: `a${i}` }));
    other.sink.emit(span({ traceId, kind: 'model', inputTokens: 1, name: `b${i}` }));
  }
  await other.close();
  const trace = await observability.getTrace(mine, traceId);
  assert.deepEqual([trace.spanCount, trace.inputTokens, trace.spans.length], [1_000, 1_000, 1_000]);
});

test('reported spans land in the workspace of the key, whatever they say', async () => {
  const traceId = newTraceId();
  const reported = spanInput.parse({ traceId, spanId: newSpanId(), kind: 'agent', name: 'mine', startMs: 1, endMs: 2 });
  assert.deepEqual(observability.ingest(theirs, [reported]), { accepted: 1, shed: 0 });
  assert.equal((await observability.getTrace(theirs, traceId)).spanCount, 1);
  await assert.rejects(observability.getTrace(mine, traceId), hasCode('trace.not_found'));
});

test('reported spans are validated strictly', () => {
  const good = { traceId: newTraceId(), spanId: newSpanId(), kind: 'agent', name: 'x', startMs: 1, endMs: 2 };
  assert.ok(spanInput.safeParse(good).success);
  const bad = [
    { workspaceId: 'ws_1' },
    { traceId: 'A'.repeat(32) },
    { spanId: '0'.repeat(16) },
    { parentSpanId: good.spanId },
    { kind: 'unknown' },
    { name: '' },
    { name: 'x'.repeat(257) },
    { startMs: 3 },
    { startMs: Number.NaN },
    { endMs: 1e300 },
    { inputTokens: -1 },
    { inputTokens: 1.5 },
    { attributes: { a: {} } },
    { attributes: { a: 'x'.repeat(8_193) } },
    { attributes: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 1])) },
  ];
  for (const over of bad)
    assert.ok(!spanInput.safeParse({ ...good, ...over }).success, JSON.stringify(over).slice(0, 80));
});
