import { maxSpansPerTrace, spanKind, type Trace, type TraceSummary, traceSpan } from '@holdfast/contract';
import { HoldfastError, isTraceId } from '@holdfast/core';
import type { Database, Schema } from '@holdfast/db';
import type { Selectable } from 'kysely';
import { assembleTrace, type FlatSpan } from './trace-assembly.ts';

export interface Scope {
  readonly workspaceId: string;
}

export interface TracePage {
  readonly items: TraceSummary[];
  /** Pass it to get the next page; null on the last one. */
  readonly cursor: string | null;
}

const summaryOf = (row: Selectable<Schema['traces']>): TraceSummary => ({
  id: row.trace_id,
  name: row.name,
  startMs: row.start_ms,
  endMs: row.end_ms,
  durationMs: row.end_ms - row.start_ms,
  spanCount: row.span_count,
  errorCount: row.error_count,
  inputTokens: row.input_tokens,
  outputTokens: row.output_tokens,
  costMicroUsd: row.cost_micro_usd,
});

const attributesOf = traceSpan.shape.attributes.catch({});

const flatSpanOf = (row: Selectable<Schema['spans']>): FlatSpan => ({
  spanId: row.span_id,
  parentSpanId: row.parent_span_id,
  // A kind that only a later version knows is still a span.
  kind: spanKind.catch('other').parse(row.kind),
  name: row.name,
  startMs: row.start_ms,
  endMs: row.end_ms,
  status: row.status,
  statusMessage: row.status_message,
  attributes: attributesOf.parse(row.attributes),
  inputTokens: row.input_tokens,
  outputTokens: row.output_tokens,
  costMicroUsd: row.cost_micro_usd,
});

/** One trace with its spans in the order of the tree. Throws `trace.not_found`. */
export const readTrace = async (database: Database, scope: Scope, traceId: string): Promise<Trace> => {
  const notFound = new HoldfastError('trace.not_found', undefined, { traceId: traceId.slice(0, 64) });
  if (!isTraceId(traceId)) throw notFound;
  const summary = await database.kysely
    .selectFrom('traces')
    .selectAll()
    .where('workspace_id', '=', scope.workspaceId)
    .where('trace_id', '=', traceId)
    .executeTakeFirst();
  if (summary === undefined) throw notFound;
  const rows = await database.kysely
    .selectFrom('spans')
    .selectAll()
    .where('workspace_id', '=', scope.workspaceId)
    .where('trace_id', '=', traceId)
    .orderBy('start_ms')
    .orderBy('span_id')
    .limit(maxSpansPerTrace)
    .execute();
  return {
    ...summaryOf(summary),
    omittedSpans: Math.max(0, summary.span_count - rows.length),
    spans: assembleTrace(rows.map(flatSpanOf)),
  };
};

const encodeCursor = (row: { start_ms: number; trace_id: string }): string => `${row.start_ms}_${row.trace_id}`;

const decodeCursor = (cursor: string): { startMs: number; traceId: string } => {
  const [start = '', traceId = '', ...rest] = cursor.split('_');
  const startMs = Number(start);
  if (start === '' || !Number.isFinite(startMs) || !isTraceId(traceId) || rest.length > 0)
    throw new HoldfastError('request.invalid', 'The cursor is not valid.', { field: 'cursor' });
  return { startMs, traceId };
};

/** Traces of the workspace, newest first. Throws `request.invalid` for a cursor that was not given out here. */
export const readTraces = async (
  database: Database,
  scope: Scope,
  page: { limit: number; cursor?: string | undefined },
): Promise<TracePage> => {
  let query = database.kysely
    .selectFrom('traces')
    .selectAll()
    .where('workspace_id', '=', scope.workspaceId)
    .orderBy('start_ms', 'desc')
    .orderBy('trace_id', 'desc')
    .limit(page.limit + 1);
  if (page.cursor !== undefined) {
    const { startMs, traceId } = decodeCursor(page.cursor);
    query = query.where((eb) => eb(eb.refTuple('start_ms', 'trace_id'), '<', eb.tuple(startMs, traceId)));
  }
  const rows = await query.execute();
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items: items.map(summaryOf), cursor: rows.length > page.limit && last ? encodeCursor(last) : null };
};
