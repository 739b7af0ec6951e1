import type { TraceSpan } from '@holdfast/contract';

/** A span as stored, before its place in the tree is known. */
export type FlatSpan = Omit<TraceSpan, 'depth' | 'orphan' | 'durationMs' | 'childMs' | 'ownMs'>;

const byStart = (a: FlatSpan, b: FlatSpan): number =>
  a.startMs - b.startMs || b.endMs - a.endMs || (a.spanId < b.spanId ? -1 : 1);

/** Milliseconds of `span` that at least one of `children`, sorted by start, covers. */
const coveredMs = (span: FlatSpan, children: readonly FlatSpan[]): number => {
  let covered = 0;
  let until = span.startMs;
  for (const child of children) {
    const from = Math.max(child.startMs, until);
    const to = Math.min(child.endMs, span.endMs);
    if (to <= from) continue;
    covered += to - from;
    until = to;
  }
  return covered;
};

/**
 * Puts spans in the order of their tree, siblings by start. A span whose parent is not among them becomes a root marked
 * as an orphan; so does the earliest span of a cycle, which only a broken or hostile reporter makes.
 */
export const assembleTrace = (spans: readonly FlatSpan[]): TraceSpan[] => {
  const sorted = spans.toSorted(byStart);
  const ids = new Set(sorted.map((s) => s.spanId));
  const children = new Map<string, FlatSpan[]>();
  const roots: FlatSpan[] = [];
  for (const span of sorted) {
    if (span.parentSpanId === null || !ids.has(span.parentSpanId)) {
      roots.push(span);
      continue;
    }
    const siblings = children.get(span.parentSpanId);
    if (siblings === undefined) children.set(span.parentSpanId, [span]);
    else siblings.push(span);
  }

  const placed: TraceSpan[] = [];
  const seen = new Set<string>();
  const place = (root: FlatSpan): void => {
    // A stack, not recursion: a chain may be as deep as a trace is long.
    const stack = [{ span: root, depth: 0 }];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { span, depth } = next;
      if (seen.has(span.spanId)) continue;
      seen.add(span.spanId);
      const below = children.get(span.spanId) ?? [];
      const durationMs = span.endMs - span.startMs;
      const childMs = coveredMs(span, below);
      const orphan = depth === 0 && span.parentSpanId !== null;
      placed.push({ ...span, depth, orphan, durationMs, childMs, ownMs: durationMs - childMs });
      for (const child of below.toReversed()) stack.push({ span: child, depth: depth + 1 });
    }
  };
  for (const root of roots) place(root);
  for (const span of sorted) if (!seen.has(span.spanId)) place(span);
  return placed;
};
