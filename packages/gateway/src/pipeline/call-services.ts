import type { Clock, Log, SpanSink } from '@holdfast/core';
import type { Spending } from '../budgets/spending.ts';
import type { AnswerCache, EmbedText } from '../caches/cache.ts';
import type { EventSink } from '../events/event.ts';
import type { Idempotency } from '../idempotency/idempotency.ts';
import type { GatewayMetrics } from '../metrics/metrics.ts';
import type { Runaway } from '../runaway/runaway.ts';
import type { AnswerLimits } from './attempt.ts';
import type { CallInput } from './call-input.ts';

export interface CallLimits extends AnswerLimits {
  /** Longest call in milliseconds, its stream included; shorter than holds on budgets last. */
  readonly maxCallMs: number;
  /** How long an answer that nobody waits for any more is read to its end, where that tells what it cost. */
  readonly maxDrainMs: number;
}

/** What every call needs of the parts of the gateway. */
export interface CallServices {
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly spans: SpanSink;
  readonly spending: Spending;
  readonly cache: AnswerCache;
  readonly idempotency: Idempotency;
  readonly runaway: Runaway;
  readonly metrics: GatewayMetrics;
  readonly events: EventSink;
  /** Embeds through the gateway, in the name of the caller of this call. */
  readonly embed: (call: CallInput, ...text: Parameters<EmbedText>) => ReturnType<EmbedText>;
  readonly limits: CallLimits;
}
