import type { Route } from '@holdfast/contract';
import type { Clock, HoldfastError, SpanSink } from '@holdfast/core';
import type { Exchange } from './exchange.ts';

/** Only what a client put into a trace is traced: a span for each poll of a status would drown the rest. */
const isTraced = (route: Route, exchange: Exchange): boolean =>
  exchange.trace !== null && route.path.startsWith('/api/sandboxes');

/** Records an operation on a sandbox as a child of the caller's span. */
export const recordSpan = (
  spans: SpanSink,
  clock: Clock,
  o: { spanId: string; name: string; route: Route; exchange: Exchange; startMs: number; error: HoldfastError | null },
): void => {
  const { exchange, error } = o;
  if (exchange.trace === null || !isTraced(o.route, exchange)) return;
  const sandbox = exchange.params.id;
  spans.emit({
    traceId: exchange.trace.traceId,
    spanId: o.spanId,
    parentSpanId: exchange.trace.spanId,
    workspaceId: exchange.principal.workspaceId,
    kind: 'sandbox',
    name: o.name,
    startMs: o.startMs,
    endMs: clock.now(),
    status: error === null ? 'ok' : 'error',
    statusMessage: error === null ? null : `${error.code}: ${error.message}`,
    attributes: {
      'holdfast.request_id': exchange.requestId,
      ...(sandbox === undefined ? {} : { 'holdfast.sandbox': sandbox }),
    },
    inputTokens: null,
    outputTokens: null,
    costMicroUsd: null,
  });
};
