import { fitted, printable, textWidth } from './terminal-text.ts';
import type { Trace, TraceSpan } from './trace.ts';

export interface TraceTreeOptions {
  /** Columns of the terminal; at least 20 are used. No line is longer. */
  readonly width: number;
  /** ANSI colours. */
  readonly color: boolean;
}

const minWidth = 20;
const minNameWidth = 16;
const maxNameWidth = 60;
const barWidth = { least: 10, most: 32 } as const;

/** Milliseconds for people: `0.42 ms`, `15.3 ms`, `1.25 s`, `2m 05s`, `3h 04m`. */
export const formatDuration = (ms: number): string => {
  if (ms < 10) return `${ms.toFixed(2)} ms`;
  if (ms < 1_000) return `${ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1_000);
  const two = (n: number): string => String(n).padStart(2, '0');
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`;
  return `${Math.floor(seconds / 3_600)}h ${two(Math.floor((seconds % 3_600) / 60))}m`;
};

/** Millionths of a dollar as dollars, with as many digits as a small sum needs. */
export const formatCost = (microUsd: number): string => {
  if (microUsd === 0) return '$0';
  const digits = microUsd < 10_000 ? 6 : microUsd < 1_000_000 ? 4 : 2;
  return `$${(microUsd / 1_000_000).toFixed(digits)}`;
};

const formatCount = (n: number): string => {
  if (n < 100_000) return n.toLocaleString('en-US');
  return n < 10_000_000 ? `${(n / 1_000).toFixed(0)}k` : `${(n / 1_000_000).toFixed(0)}M`;
};

const tokensOf = (input: number | null, output: number | null): string =>
  input === null && output === null ? '' : `${formatCount(input ?? 0)}→${formatCount(output ?? 0)}`;

type Paint = (code: string, text: string) => string;
const paintWith =
  (color: boolean): Paint =>
  (code, text) =>
    color && text !== '' ? `\u001b[${code}m${text}\u001b[0m` : text;

const kindColors: Record<TraceSpan['kind'], string> = {
  run: '1',
  agent: '1;35',
  reasoning: '35',
  decision: '35',
  model: '36',
  tool: '33',
  sandbox: '32',
  other: '37',
};

interface Row {
  readonly span: TraceSpan;
  readonly prefix: string;
  /** Prefix of a further line under this span. */
  readonly below: string;
}

/** True for each span that has no later sibling. Expects the order of the tree. */
const lastSiblings = (spans: readonly TraceSpan[]): boolean[] => {
  const later: boolean[] = [];
  const last: boolean[] = [];
  for (let i = spans.length - 1; i >= 0; i -= 1) {
    const depth = spans[i]?.depth ?? 0;
    last[i] = later[depth] !== true;
    later.length = depth;
    later[depth] = true;
  }
  return last;
};

const rowsOf = (spans: readonly TraceSpan[], maxPrefix: number): Row[] => {
  const last = lastSiblings(spans);
  const ancestors: boolean[] = [];
  const levels = Math.max(1, Math.floor((maxPrefix - 2) / 3));
  return spans.map((span, i) => {
    ancestors.length = span.depth;
    ancestors[span.depth] = last[i] === true;
    if (span.depth === 0) return { span, prefix: '', below: i + 1 < spans.length ? '  ' : '' };
    // Deep in the tree only the nearest levels fit; the mark says that there are more.
    const from = Math.max(1, span.depth - levels + 1);
    const mark = from > 1 ? '… ' : '';
    const lines = ancestors.slice(from, span.depth).map((isLast) => (isLast ? '   ' : '│  '));
    const stem = mark + lines.join('');
    return { span, prefix: stem + (last[i] ? '└─ ' : '├─ '), below: stem + (last[i] ? '   ' : '│  ') };
  });
};

interface Column {
  readonly title: string;
  readonly align: 'left' | 'right';
  readonly width: number;
  readonly cell: (span: TraceSpan) => string;
  readonly color: (span: TraceSpan) => string | null;
}

const columnOf = (
  spans: readonly TraceSpan[],
  column: Omit<Column, 'width' | 'color'> & { color?: Column['color'] },
): Column => ({
  ...column,
  color: column.color ?? (() => null),
  width: spans.reduce((w, s) => Math.max(w, textWidth(column.cell(s))), textWidth(column.title)),
});

const barColumn = (trace: Trace, width: number): Column => {
  const whole = Math.max(trace.endMs - trace.startMs, 0.001);
  return {
    title: 'timeline',
    align: 'left',
    width,
    color: (s) => (s.status === 'error' ? '31' : kindColors[s.kind]),
    cell: (s) => {
      const from = Math.min(width - 1, Math.max(0, Math.floor(((s.startMs - trace.startMs) / whole) * width)));
      const to = Math.min(width, Math.max(from + 1, Math.ceil(((s.endMs - trace.startMs) / whole) * width)));
      return '·'.repeat(from) + '█'.repeat(to - from) + '·'.repeat(width - to);
    },
  };
};

/** The columns that fit next to a name of useful width; the timeline goes first, then cost, tokens, kind, status. */
const columnsOf = (trace: Trace, nameWidth: number, width: number): Column[] => {
  const { spans } = trace;
  const kind = columnOf(spans, { title: 'kind', align: 'left', cell: (s) => s.kind, color: (s) => kindColors[s.kind] });
  const time = columnOf(spans, { title: 'time', align: 'right', cell: (s) => formatDuration(s.durationMs) });
  const tokens = columnOf(spans, {
    title: 'tokens',
    align: 'right',
    cell: (s) => tokensOf(s.inputTokens, s.outputTokens),
  });
  const cost = columnOf(spans, {
    title: 'cost',
    align: 'right',
    cell: (s) => (s.costMicroUsd === null ? '' : formatCost(s.costMicroUsd)),
  });
  const status = columnOf(spans, {
    title: 'status',
    align: 'left',
    cell: (s) => s.status,
    color: (s) => (s.status === 'error' ? '1;31' : '32'),
  });
  const wanted = Math.min(nameWidth, maxNameWidth);
  const choices = [
    [kind, time, tokens, cost, status],
    [kind, time, tokens, status],
    [kind, time, status],
    [time, status],
  ];
  for (const columns of choices) {
    const room = width - columns.reduce((sum, c) => sum + c.width + 1, 0);
    const bar = Math.min(barWidth.most, room - wanted - 1);
    if (columns === choices[0] && bar >= barWidth.least)
      return [kind, time, barColumn(trace, bar), tokens, cost, status];
    if (room >= Math.min(wanted, minNameWidth + 8)) return columns;
  }
  return width - time.width - 1 >= minNameWidth ? [time] : [];
};

const padded = (text: string, column: Column): string => {
  const cut = fitted(text, column.width);
  if (column.align === 'left') return cut;
  const bare = cut.trimEnd();
  return ' '.repeat(column.width - textWidth(bare)) + bare;
};

const summaryOf = (trace: Trace): string => {
  const facts = [
    formatDuration(trace.durationMs),
    `${formatCount(trace.spanCount)} ${trace.spanCount === 1 ? 'span' : 'spans'}`,
    `tokens ${tokensOf(trace.inputTokens, trace.outputTokens)}`,
    formatCost(trace.costMicroUsd),
    ...(trace.errorCount > 0 ? [`${formatCount(trace.errorCount)} failed`] : []),
    ...(trace.omittedSpans > 0 ? [`${formatCount(trace.omittedSpans)} not shown`] : []),
  ];
  return facts.join('  ');
};

const cut = (text: string, width: number): string => fitted(text, width).trimEnd();

/**
 * A trace as text for a terminal: a tree with one line a span (name, kind, time, place in the whole, tokens in and out,
 * cost, status), and under a failed span its message. Columns that do not fit are left out. Names and messages are
 * cleaned of everything a terminal would act on. Lines end with `\n`.
 */
export const renderTraceTree = (trace: Trace, options: TraceTreeOptions): string => {
  const width = Math.max(minWidth, Math.floor(options.width));
  const paint = paintWith(options.color);
  const labels = trace.spans.map((s) => printable(s.name) + (s.orphan ? ' (parent missing)' : ''));
  const roomy = rowsOf(trace.spans, Math.floor(width / 3));
  const longest = roomy.reduce((w, r, i) => Math.max(w, textWidth(r.prefix) + textWidth(labels[i] ?? '')), 4);
  const columns = columnsOf(trace, longest, width);
  const room = width - columns.reduce((sum, c) => sum + c.width + 1, 0);
  const nameWidth = Math.min(longest, room);
  const rows = longest <= room ? roomy : rowsOf(trace.spans, Math.floor(nameWidth / 2));

  const lines = [
    paint('1', cut(printable(trace.name), width)),
    paint('2', cut(`trace ${printable(trace.id)}`, width)),
    cut(summaryOf(trace), width),
    '',
    paint('2', [fitted('span', nameWidth), ...columns.map((c) => padded(c.title, c))].join(' ').trimEnd()),
  ];
  rows.forEach((row, i) => {
    const { span, prefix } = row;
    const label = fitted(labels[i] ?? '', nameWidth - textWidth(prefix));
    const cells = columns.map((c) => {
      const code = c.color(span);
      const text = padded(c.cell(span), c);
      return code === null ? text : paint(code, text);
    });
    const name = paint('2', prefix) + (span.status === 'error' ? paint('31', label) : label);
    lines.push([name, ...cells].join(' ').trimEnd());
    if (span.statusMessage !== null && span.statusMessage !== '' && span.status === 'error')
      lines.push(paint('31', cut(`${row.below}! ${printable(span.statusMessage)}`, width)));
  });
  return `${lines.join('\n')}\n`;
};
