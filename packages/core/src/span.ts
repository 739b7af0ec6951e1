export type SpanKind = 'run' | 'agent' | 'reasoning' | 'decision' | 'model' | 'tool' | 'sandbox' | 'other';

export type SpanAttribute = string | number | boolean | null;

/** One finished piece of work in a trace. */
export interface SpanRecord {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly workspaceId: string;
  readonly kind: SpanKind;
  readonly name: string;
  /** Milliseconds since 1970; fractions are kept. */
  readonly startMs: number;
  readonly endMs: number;
  readonly status: 'ok' | 'error';
  readonly statusMessage: string | null;
  readonly attributes: Readonly<Record<string, SpanAttribute>>;
  readonly inputTokens: number | null;
  readonly outputTokens: number | null;
  /** Millionths of a US dollar. */
  readonly costMicroUsd: number | null;
}

/** Where finished spans go. `emit` never throws and never blocks; a sink that is full drops and counts. */
export interface SpanSink {
  emit(span: SpanRecord): void;
}

export const discardSpans: SpanSink = { emit: () => undefined };
