import { AsyncLocalStorage } from 'node:async_hooks';
import { newSpanId, type SpanSink, type TraceContext } from '@holdfast/core';
import type { SandboxOperation } from '@holdfast/sandbox';

/** The span that work done for a request belongs to; layers below know nothing of requests. */
const scope = new AsyncLocalStorage<TraceContext>();

/** Runs `work` so that what it does inside the layers is traced below a new span of `trace`, whose id it gives to `work`. */
export const traced = <T>(trace: TraceContext | null, work: (spanId: string) => T): T => {
  // Outside of a trace nothing is traced, and the id names nothing.
  if (trace === null) return work('');
  const spanId = newSpanId();
  return scope.run({ ...trace, spanId }, () => work(spanId));
};

/** Records what the sandbox layer did for the request under way; what it does on its own is in its events. */
export const observeSandboxes =
  (spans: SpanSink) =>
  (operation: SandboxOperation): void => {
    const parent = scope.getStore();
    if (parent === undefined) return;
    const { name, workspaceId, sandboxId, startMs, endMs, error, attributes } = operation;
    spans.emit({
      traceId: parent.traceId,
      spanId: newSpanId(),
      parentSpanId: parent.spanId,
      workspaceId,
      kind: 'sandbox',
      name,
      startMs,
      endMs,
      status: error === null ? 'ok' : 'error',
      statusMessage: error,
      attributes: { 'holdfast.sandbox': sandboxId, ...attributes },
      inputTokens: null,
      outputTokens: null,
      costMicroUsd: null,
    });
  };
