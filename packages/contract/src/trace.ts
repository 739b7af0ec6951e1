import { z } from 'zod';
import { routes } from './route.ts';

export const spanKind = z.enum(['run', 'agent', 'reasoning', 'decision', 'model', 'tool', 'sandbox', 'other']);

/** Most spans in one batch of `POST /api/spans`. */
export const maxSpansPerBatch = 500;
/** Most spans of one trace that are read back; what exceeds it is counted and not shown. */
export const maxSpansPerTrace = 10_000;
export const maxSpanAttributes = 64;
export const maxSpanNameLength = 256;
export const maxAttributeKeyLength = 128;
export const maxAttributeLength = 8_192;

const notZero = (text: string): boolean => !/^0+$/.test(text);
const traceId = z
  .string()
  .regex(/^[0-9a-f]{32}$/, '32 lower-case hex digits')
  .refine(notZero, 'must not be all zeros');
const spanId = z
  .string()
  .regex(/^[0-9a-f]{16}$/, '16 lower-case hex digits')
  .refine(notZero, 'must not be all zeros');
/** Milliseconds since 1970, until the year 5138; fractions are kept. */
const instant = z.number().min(0).max(100_000_000_000_000);
const count = z.number().int().min(0).max(1_000_000_000);
const attribute = z.union([z.string().max(maxAttributeLength), z.number(), z.boolean(), z.null()]);

/** One finished span as an agent or SDK reports it. Its workspace is that of the key. */
export const spanInput = z
  .strictObject({
    traceId,
    spanId,
    parentSpanId: spanId.nullable().default(null),
    kind: spanKind,
    name: z.string().min(1).max(maxSpanNameLength),
    startMs: instant,
    endMs: instant,
    status: z.enum(['ok', 'error']).default('ok'),
    statusMessage: z.string().max(4_096).nullable().default(null),
    attributes: z
      .record(z.string().min(1).max(maxAttributeKeyLength), attribute)
      .refine((r) => Object.keys(r).length <= maxSpanAttributes, `at most ${maxSpanAttributes} attributes`)
      .default({}),
    inputTokens: count.nullable().default(null),
    outputTokens: count.nullable().default(null),
    /** Millionths of a US dollar. */
    costMicroUsd: z.number().int().min(0).max(1_000_000_000_000).nullable().default(null),
  })
  .refine((s) => s.endMs >= s.startMs, { message: 'must not be before startMs', path: ['endMs'] })
  .refine((s) => s.parentSpanId !== s.spanId, { message: 'must not be the span itself', path: ['parentSpanId'] });

export const traceSpan = z.object({
  spanId: z.string(),
  parentSpanId: z.string().nullable(),
  /** 0 for a root. */
  depth: z.number(),
  /** True when it names a parent that is not in this trace; it is then shown as a root. */
  orphan: z.boolean(),
  kind: spanKind,
  name: z.string(),
  startMs: z.number(),
  endMs: z.number(),
  durationMs: z.number(),
  /** Time within this span that at least one child covers. */
  childMs: z.number(),
  /** `durationMs` less `childMs`. */
  ownMs: z.number(),
  status: z.enum(['ok', 'error']),
  statusMessage: z.string().nullable(),
  attributes: z.record(z.string(), attribute),
  inputTokens: z.number().nullable(),
  outputTokens: z.number().nullable(),
  costMicroUsd: z.number().nullable(),
});

const totals = {
  id: z.string(),
  /** Name of the root, or of the earliest span while no root has arrived. */
  name: z.string(),
  startMs: z.number(),
  endMs: z.number(),
  durationMs: z.number(),
  spanCount: z.number(),
  errorCount: z.number(),
  /** Sums over the spans of kind `model` only, so that an agent's own total is not counted twice. */
  inputTokens: z.number(),
  outputTokens: z.number(),
  costMicroUsd: z.number(),
};

export const traceSummary = z.object(totals);

export const trace = z.object({
  ...totals,
  /** Spans left out because the trace has more than can be shown. */
  omittedSpans: z.number(),
  /** In the order of the tree: each span before its children, siblings by start. */
  spans: z.array(traceSpan),
});

export const traceRoutes = routes({
  listTraces: {
    method: 'GET',
    path: '/api/traces',
    role: 'viewer',
    answer: 'json',
    summary: 'List the traces of the workspace, newest first.',
    query: z.object({
      limit: z.coerce.number().int().min(1).max(1000).default(100),
      cursor: z.string().max(256).optional(),
    }),
    response: z.object({ items: z.array(traceSummary), cursor: z.string().nullable() }),
  },
  getTrace: {
    method: 'GET',
    path: '/api/traces/{id}',
    role: 'viewer',
    answer: 'json',
    params: z.object({ id: z.string().max(128) }),
    summary: 'Read one trace as a tree of spans with time, tokens and cost.',
    response: trace,
  },
  postSpans: {
    method: 'POST',
    path: '/api/spans',
    role: 'developer',
    answer: 'json',
    status: 202,
    maxBodyBytes: 8_388_608,
    summary: 'Report finished spans. A span that was already reported is left as it is.',
    body: z.strictObject({ spans: z.array(spanInput).min(1).max(maxSpansPerBatch) }),
    /** `shed` spans were dropped because the queue was full. */
    response: z.object({ accepted: z.number(), shed: z.number() }),
  },
});

export type SpanInput = z.output<typeof spanInput>;
export type TraceSpan = z.output<typeof traceSpan>;
export type TraceSummary = z.output<typeof traceSummary>;
export type Trace = z.output<typeof trace>;
