import type { Clock, Log, SpanRecord, SpanSink } from '@holdfast/core';
import { type SpanRow, spanRowOf } from './span-row.ts';

export interface SpanQueueLimits {
  /** Spans that may wait; more are shed. */
  readonly maxQueued: number;
  /** Spans in one statement. */
  readonly maxBatch: number;
  /** Longest time in milliseconds that a span waits for company. */
  readonly flushMs: number;
  /** Tries of one batch before it is given up. */
  readonly maxTries: number;
}

export interface SpanQueueOptions {
  readonly insert: (rows: readonly SpanRow[]) => Promise<void>;
  /** True for a failure of the way to the database, which a later try may not meet. */
  readonly isTransient: (error: unknown) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: SpanQueueLimits;
}

export interface SpanCounts {
  readonly queued: number;
  readonly written: number;
  /** Dropped because the queue was full. */
  readonly shed: number;
  /** Dropped because they could not be stored. */
  readonly rejected: number;
}

const firstRetryMs = 100;
const maxRetryMs = 5_000;

/** Takes spans without ever blocking and writes them in batches, one batch at a time. */
export class SpanQueue implements SpanSink {
  readonly #options: SpanQueueOptions;
  readonly #rows: SpanRow[] = [];
  #writing: Promise<void> | null = null;
  #cancelTimer: (() => void) | null = null;
  #written = 0;
  #shed = 0;
  #rejected = 0;
  /** Rows that were ever queued, and those of them that are stored or given up. */
  #taken = 0;
  #done = 0;
  #closed = false;

  constructor(options: SpanQueueOptions) {
    this.#options = options;
  }

  get counts(): SpanCounts {
    return { queued: this.#rows.length, written: this.#written, shed: this.#shed, rejected: this.#rejected };
  }

  emit(span: SpanRecord): void {
    this.offer(span);
  }

  /** False when the span was dropped. */
  offer(span: SpanRecord): boolean {
    const { maxQueued, maxBatch, flushMs } = this.#options.limits;
    const row = spanRowOf(span);
    if (row === null) {
      this.#rejected += 1;
      return false;
    }
    if (this.#closed || this.#rows.length >= maxQueued) {
      // The first of each thousand, so that a flood of spans is not followed by one of log lines.
      if (this.#shed % 1_000 === 0) this.#options.log.warn('spans are shed', { shed: this.#shed + 1, maxQueued });
      this.#shed += 1;
      return false;
    }
    this.#rows.push(row);
    this.#taken += 1;
    if (this.#rows.length >= maxBatch) void this.#start();
    else this.#cancelTimer ??= this.#options.clock.after(flushMs, () => void this.#start());
    return true;
  }

  /** Resolves when everything offered so far is stored or given up. */
  async flush(): Promise<void> {
    const target = this.#taken;
    while (this.#done < target) await this.#start();
  }

  /** Takes no more spans, and writes what is left. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  #start(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #drain(): Promise<void> {
    while (this.#rows.length > 0) {
      // Stay in the queue while they are written, so that its bound counts them.
      const batch = this.#rows.slice(0, this.#options.limits.maxBatch);
      await this.#write(batch);
      this.#rows.splice(0, batch.length);
      this.#done += batch.length;
    }
  }

  async #write(batch: readonly SpanRow[]): Promise<void> {
    const { insert, isTransient, clock, log, limits } = this.#options;
    for (let tries = 1; ; tries += 1) {
      try {
        await insert(batch);
        this.#written += batch.length;
        return;
      } catch (error) {
        if (!isTransient(error) && batch.length > 1) {
          // One row is at fault: the others shall not go down with it.
          for (const row of batch) await this.#write([row]);
          return;
        }
        if (!isTransient(error) || tries >= limits.maxTries) {
          this.#rejected += batch.length;
          log.error('spans could not be stored', { spans: batch.length, tries, error });
          return;
        }
        await clock.sleep(Math.min(maxRetryMs, firstRetryMs * 2 ** (tries - 1)));
      }
    }
  }
}
