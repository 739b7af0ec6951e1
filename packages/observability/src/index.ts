export { type Observability, type ObservabilityOptions, openObservability } from './observability.ts';
export type { SpanCounts, SpanQueueLimits } from './span-queue.ts';
export type { Scope, TracePage } from './trace-reader.ts';
