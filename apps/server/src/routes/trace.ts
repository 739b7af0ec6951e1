import { traceRoutes } from '@holdfast/contract';
import type { Observability } from '@holdfast/observability';
import { bindJson } from '../http/bind.ts';

export const bindTraces = (observability: Observability) => ({
  listTraces: bindJson(traceRoutes.listTraces, ({ principal, query }) => observability.listTraces(principal, query)),
  getTrace: bindJson(traceRoutes.getTrace, ({ principal, params }) => observability.getTrace(principal, params.id)),
  postSpans: bindJson(traceRoutes.postSpans, async ({ principal, body }) =>
    observability.ingest(principal, body.spans),
  ),
});
