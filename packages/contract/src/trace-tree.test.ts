import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fitted, printable, textWidth } from './terminal-text.ts';
import type { Trace, TraceSpan } from './trace.ts';
import { formatCost, formatDuration, renderTraceTree } from './trace-tree.ts';

const span = (over: Partial<TraceSpan> & { spanId: string; depth: number }): TraceSpan => ({
  parentSpanId: null,
  orphan: false,
  kind: 'tool',
  name: over.spanId,
  startMs: 0,
  endMs: 100,
  durationMs: 100,
  childMs: 0,
  ownMs: 100,
  status: 'ok',
  statusMessage: null,
  attributes: {},
  inputTokens: null,
  outputTokens: null,
  costMicroUsd: null,
  ...over,
});

const traceOf = (spans: TraceSpan[], over: Partial<Trace> = {}): Trace => ({
  id: '0af7651916cd43dd8448eb211c80319c',
  name: 'fix the test',
  startMs: 0,
  endMs: 100,
  durationMs: 100,
  spanCount: spans.length,
  errorCount: 0,
  inputTokens: 1234,
  outputTokens: 56,
  costMicroUsd: 789,
  omittedSpans: 0,
  spans,
  ...over,
});

const small = traceOf(
  [
    span({ spanId: 'agent', depth: 0, kind: 'agent', name: 'agent run' }),
    span({
      spanId: 'm1',
      depth: 1,
      kind: 'model',
      name: 'chat gpt-4.1',
      endMs: 50,
      durationMs: 50,
      inputTokens: 1234,
      outputTokens: 56,
      costMicroUsd: 789,
    }),
    span({ spanId: 't1', depth: 1, kind: 'tool', name: 'exec', startMs: 50, durationMs: 50 }),
    span({
      spanId: 's1',
      depth: 2,
      kind: 'sandbox',
      name: 'sandbox.exec',
      startMs: 60,
      endMs: 90,
      durationMs: 30,
      status: 'error',
      statusMessage: 'exit code 1',
    }),
    span({ spanId: 'lost', depth: 0, orphan: true, name: 'late', startMs: 90, durationMs: 10 }),
  ],
  { errorCount: 1 },
);

const withoutColor = (text: string): string => text.replace(/(?!\n)\p{Cc}\[[\d;]*m/gu, '');

test('a trace is drawn as a tree with kind, time, timeline, tokens, cost and status', () => {
  assert.equal(
    renderTraceTree(small, { width: 110, color: false }),
    [
      'fix the test',
      'trace 0af7651916cd43dd8448eb211c80319c',
      '100 ms  5 spans  tokens 1,234→56  $0.000789  1 failed',
      '',
      'span                  kind       time timeline                           tokens      cost status',
      'agent run             agent    100 ms ████████████████████████████████                    ok',
      '├─ chat gpt-4.1       model   50.0 ms ████████████████················ 1,234→56 $0.000789 ok',
      '└─ exec               tool    50.0 ms ················████████████████                    ok',
      '   └─ sandbox.exec    sandbox 30.0 ms ···················██████████···                    error',
      '      ! exit code 1',
      'late (parent missing) tool    10.0 ms ····························████                    ok',
      '',
    ].join('\n'),
  );
});

test('colour adds only ANSI codes', () => {
  const colored = renderTraceTree(small, { width: 110, color: true });
  assert.ok(colored.includes('\u001b['));
  const bare = (text: string): string => text.replace(/ +$/gm, '');
  assert.equal(bare(withoutColor(colored)), bare(renderTraceTree(small, { width: 110, color: false })));
});

test('no line is wider than the terminal, at any width', () => {
  for (let width = 20; width <= 140; width += 1) {
    const text = renderTraceTree(small, { width, color: false });
    for (const line of text.split('\n')) assert.ok(textWidth(line) <= width, `${width}: ${line}`);
    assert.match(text, /chat g/);
    assert.match(text, /└─/);
  }
});

test('a width below 20 counts as 20', () => {
  for (const line of renderTraceTree(small, { width: 3, color: false }).split('\n')) assert.ok(textWidth(line) <= 20);
});

test('wide characters keep the columns aligned', () => {
  const text = renderTraceTree(
    traceOf([
      span({ spanId: 'a', depth: 0, name: '修复测试 🧪' }),
      span({ spanId: 'b', depth: 1, name: 'family 👨‍👩‍👧 café' }),
    ]),
    { width: 100, color: false },
  );
  const columnsOfOk = text
    .split('\n')
    .filter((l) => l.endsWith(' ok'))
    .map((l) => textWidth(l));
  assert.equal(columnsOfOk.length, 2);
  assert.equal(columnsOfOk[0], columnsOfOk[1]);
});

test('nothing that a terminal acts on gets through', () => {
  const hostile =
    '\u001b[31mred\u001b[0m\u001b]0;title\u0007 a\r\nb\tc \u202egnp.exe\u0000\u009b2J\u200b\u0085end \ud800';
  const text = renderTraceTree(
    traceOf([span({ spanId: 'x', depth: 0, name: hostile, status: 'error', statusMessage: hostile })], {
      name: hostile,
      id: hostile,
    }),
    { width: 120, color: false },
  );
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\p{Cc}\u202a-\u202e\u2066-\u2069\u200b]/u);
  assert.match(text, /red a b c gnp\.exe/);
  assert.doesNotMatch(text, /title/);
  assert.ok(text.isWellFormed());
});

test('a thousand spans, a deep chain among them, fit the width', () => {
  const spans = [
    ...Array.from({ length: 500 }, (_, i) => span({ spanId: `deep ${i}`, depth: i })),
    ...Array.from({ length: 500 }, (_, i) => span({ spanId: `flat ${i}`, depth: 1 })),
  ];
  for (const width of [20, 40, 80, 200]) {
    const lines = renderTraceTree(traceOf(spans), { width, color: false }).split('\n');
    assert.equal(lines.length, 1000 + 6);
    for (const line of lines) assert.ok(textWidth(line) <= width, line);
  }
  const wide = renderTraceTree(traceOf(spans), { width: 120, color: false });
  assert.match(wide, /… .*└─ deep 499/);
  assert.match(wide, /\n└─ flat 499/);
  assert.match(wide, /\n├─ flat 498/);
});

test('a trace without spans is its header', () => {
  assert.match(renderTraceTree(traceOf([]), { width: 80, color: false }), /^fix the test\ntrace /);
});

test('durations and costs are written for people', () => {
  assert.deepEqual([0, 0.42, 15.26, 250.4, 1250, 125_400, 11_040_000].map(formatDuration), [
    '0.00 ms',
    '0.42 ms',
    '15.3 ms',
    '250 ms',
    '1.25 s',
    '2m 05s',
    '3h 04m',
  ]);
  assert.deepEqual([0, 789, 12_345, 1_234_567].map(formatCost), ['$0', '$0.000789', '$0.0123', '$1.23']);
});

test('fitted text has exactly the width asked for', () => {
  for (const text of ['', 'plain', '修复测试', '🧪🧪🧪', 'e\u0301e\u0301', `z${'\u0301'.repeat(500)}`, 'a修'])
    for (let width = 1; width < 12; width += 1) {
      const cut = fitted(printable(text), width);
      assert.equal(textWidth(cut), width, `${text} in ${width}`);
      assert.ok(cut.length < 64);
    }
});
