import type { SpanInput, Trace } from '@holdfast/contract';
import { type Clock, HoldfastError, type Log, type SpanSink } from '@holdfast/core';
import { type Database, isConnectionLoss } from '@holdfast/db';
import { type SpanCounts, SpanQueue, type SpanQueueLimits } from './span-queue.ts';
import { insertSpans } from './span-store.ts';
import { readTrace, readTraces, type Scope, type TracePage } from './trace-reader.ts';

const defaultLimits: SpanQueueLimits = { maxQueued: 20_000, maxBatch: 500, flushMs: 200, maxTries: 4 };

export interface ObservabilityOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: Partial<SpanQueueLimits>;
}

export interface Observability {
  /** Where the server's own parts emit spans. */
  readonly sink: SpanSink;
  /** What became of the spans so far. */
  readonly counts: SpanCounts;
  /** Takes spans that a caller reported, into its own workspace. */
  ingest(scope: Scope, spans: readonly SpanInput[]): { accepted: number; shed: number };
  /** Includes the spans emitted before, unless the database was away. Throws `trace.not_found`. */
  getTrace(scope: Scope, traceId: string): Promise<Trace>;
  /** Newest first. Throws `request.invalid` for a bad cursor. */
  listTraces(scope: Scope, page: { limit: number; cursor?: string | undefined }): Promise<TracePage>;
  /** Resolves when all spans emitted before are stored or given up. */
  flush(): Promise<void>;
  /** Stores what is left; spans emitted from now on are shed. */
  close(): Promise<void>;
}

/** How long in milliseconds a reader waits for spans that are still on their way. */
const readerPatienceMs = 2_000;

const isTransient = (error: unknown): boolean =>
  isConnectionLoss(error) || (error instanceof HoldfastError && error.code === 'database.unreachable');

export const openObservability = (options: ObservabilityOptions): Observability => {
  const { database, clock, log } = options;
  const queue = new SpanQueue({
    insert: (rows) => insertSpans(database, rows),
    isTransient,
    clock,
    log,
    limits: { ...defaultLimits, ...options.limits },
  });
  /** So that whoever emitted a span can read it; but a reader does not wait out a database that is away. */
  const settle = (): Promise<void> =>
    new Promise((resolve) => {
      const cancel = clock.after(readerPatienceMs, resolve);
      void queue.flush().then(() => {
        cancel();
        resolve();
      });
    });
  return {
    sink: queue,
    get counts() {
      return queue.counts;
    },
    ingest(scope, spans) {
      let accepted = 0;
      for (const span of spans) if (queue.offer({ ...span, workspaceId: scope.workspaceId })) accepted += 1;
      return { accepted, shed: spans.length - accepted };
    },
    async getTrace(scope, traceId) {
      await settle();
      return await readTrace(database, scope, traceId);
    },
    async listTraces(scope, page) {
      await settle();
      return await readTraces(database, scope, page);
    },
    flush: () => queue.flush(),
    close: () => queue.close(),
  };
};
