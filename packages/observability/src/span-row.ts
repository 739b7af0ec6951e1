import { maxAttributeKeyLength, maxAttributeLength, maxSpanAttributes, maxSpanNameLength } from '@holdfast/contract';
import { isSpanId, isTraceId, type SpanAttribute, type SpanRecord } from '@holdfast/core';
import type { Schema } from '@holdfast/db';
import type { Insertable } from 'kysely';

/** As it is sent in a document: its attributes are a part of that. */
export type SpanRow = Omit<Insertable<Schema['spans']>, 'attributes'> & {
  readonly attributes: Readonly<Record<string, SpanAttribute>>;
};

const maxStatusMessageLength = 4_096;
const maxInstantMs = 100_000_000_000_000;

/** PostgreSQL stores neither NUL nor half a surrogate pair. */
const storable = (text: string, maxLength: number): string =>
  text.length <= maxLength && !text.includes('\u0000') && text.isWellFormed()
    ? text
    : text.slice(0, maxLength).replaceAll('\u0000', '\ufffd').toWellFormed();

const storableAttribute = (value: SpanAttribute): SpanAttribute => {
  if (typeof value === 'string') return storable(value, maxAttributeLength);
  return typeof value === 'number' && !Number.isFinite(value) ? null : value;
};

const storableAttributes = (attributes: SpanRecord['attributes']): Record<string, SpanAttribute> => {
  const kept: Record<string, SpanAttribute> = {};
  let count = 0;
  for (const key of Object.keys(attributes)) {
    if (count === maxSpanAttributes) break;
    count += 1;
    kept[storable(key, maxAttributeKeyLength)] = storableAttribute(attributes[key] ?? null);
  }
  return kept;
};

const count = (value: number | null): number | null =>
  value === null || !Number.isSafeInteger(value) || value < 0 ? null : value;

const isInstant = (ms: number): boolean => Number.isFinite(ms) && ms >= 0 && ms <= maxInstantMs;

/**
 * The row of a span, with all that can grow cut to its limit; null when its ids or times make no sense, since one bad
 * row would cost the batch it is inserted with.
 */
export const spanRowOf = (span: SpanRecord): SpanRow | null => {
  if (!isTraceId(span.traceId) || !isSpanId(span.spanId)) return null;
  if (!isInstant(span.startMs) || !isInstant(span.endMs)) return null;
  return {
    workspace_id: span.workspaceId,
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_span_id: span.parentSpanId !== null && isSpanId(span.parentSpanId) ? span.parentSpanId : null,
    kind: span.kind,
    name: storable(span.name, maxSpanNameLength),
    start_ms: span.startMs,
    end_ms: Math.max(span.startMs, span.endMs),
    status: span.status,
    status_message: span.statusMessage === null ? null : storable(span.statusMessage, maxStatusMessageLength),
    attributes: storableAttributes(span.attributes),
    input_tokens: count(span.inputTokens),
    output_tokens: count(span.outputTokens),
    cost_micro_usd: count(span.costMicroUsd),
  };
};
