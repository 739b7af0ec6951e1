import { type TailAttempt, tailAttempt } from '@holdfast/contract';
import type { Clock, Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { z } from 'zod';
import type { AttemptMetric } from '../metrics/metrics.ts';
import type { EventLog, StoredEvent } from './event-log.ts';

export type TailedItem =
  | { readonly kind: 'event'; readonly event: StoredEvent }
  | { readonly kind: 'attempt'; readonly attempt: TailAttempt }
  | { readonly kind: 'skipped'; readonly attempts: number };

const batch = z.object({ workspaceId: z.string(), attempts: z.array(tailAttempt), skipped: z.number() });

export interface TailOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventLog;
}

/** Carries the ids of workspaces that somebody watches, said again while that lasts. */
const watchChannel = 'holdfast_gateway_watch';
/** Carries attempts of such workspaces. */
const attemptChannel = 'holdfast_gateway_attempts';

const watchedMs = 30_000;
const sayAgainMs = 10_000;
const batchMs = 100;
/** A notification has at most 8,000 bytes. */
const mostBatchBytes = 7_000;
/** Attempts that one batch tells of; the rest is counted. */
const mostInBatch = 200;
/** Items that wait for somebody who reads slowly. */
const mostUnread = 1_000;
const eventsAtOnce = 200;

interface Follower {
  readonly workspaceId: string;
  readonly attempts: TailAttempt[];
  skipped: number;
  newEvents: boolean;
  wake: () => void;
}

const shorten = (text: string): string => text.slice(0, 128);

const tailedOf = (metric: AttemptMetric, at: number): TailAttempt => ({
  at: new Date(at).toISOString(),
  endpoint: metric.endpoint,
  route: metric.route === null ? null : shorten(metric.route),
  provider: metric.provider,
  model: shorten(metric.model),
  outcome: metric.outcome,
  inputTokens:
    metric.usage === null
      ? null
      : metric.usage.inputTokens +
        metric.usage.cacheReadTokens +
        metric.usage.cacheWrite5mTokens +
        metric.usage.cacheWrite1hTokens,
  outputTokens: metric.usage?.outputTokens ?? null,
  costMicroUsd: metric.costMicroUsd,
  latencyMs: Math.round(metric.latencyMs * 100) / 100,
  firstTokenMs: metric.firstTokenMs === null ? null : Math.round(metric.firstTokenMs * 100) / 100,
  keyId: metric.keyId ?? null,
  agentId: metric.agentId ?? null,
  runId: metric.runId ?? null,
  traceId: metric.traceId ?? null,
});

/**
 * Lets people watch a workspace. Events come from the log, whole and in order; attempts are told between processes only
 * while somebody watches, so that they cost nothing otherwise, and what comes too fast is counted instead.
 */
export class Tail {
  readonly #o: TailOptions;
  /** Until when each workspace counts as watched, by `Clock.monotonic`. */
  readonly #watched = new Map<string, number>();
  readonly #followers = new Set<Follower>();
  readonly #waiting = new Map<string, { attempts: TailAttempt[]; skipped: number }>();
  readonly #unlisten: readonly (() => void)[];
  #cancelBatch: (() => void) | null = null;
  #sending: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: TailOptions) {
    this.#o = options;
    const { database, events } = options;
    this.#unlisten = [
      database.listen(watchChannel, { message: (workspaceId) => this.#watch(workspaceId), reset: () => undefined }),
      database.listen(attemptChannel, { message: (payload) => this.#received(payload), reset: () => undefined }),
      events.onEvents((workspaceId) => {
        for (const follower of this.#followers)
          if (workspaceId === null || follower.workspaceId === workspaceId) {
            follower.newEvents = true;
            follower.wake();
          }
      }),
    ];
  }

  /** An attempt has ended in this process. Does nothing unless its workspace is watched. */
  attempt(metric: AttemptMetric): void {
    const until = this.#watched.get(metric.workspaceId);
    if (until === undefined) return;
    if (until <= this.#o.clock.monotonic()) {
      this.#watched.delete(metric.workspaceId);
      return;
    }
    const waiting = this.#waiting.get(metric.workspaceId) ?? { attempts: [], skipped: 0 };
    this.#waiting.set(metric.workspaceId, waiting);
    if (waiting.attempts.length >= mostInBatch) waiting.skipped += 1;
    else waiting.attempts.push(tailedOf(metric, this.#o.clock.now()));
    this.#cancelBatch ??= this.#o.clock.after(batchMs, () => {
      this.#cancelBatch = null;
      this.#sending = this.#sending.then(() => this.#send());
    });
  }

  /** Events behind `after`, and from now on attempts, until the signal aborts or the gateway closes. */
  async *follow(workspaceId: string, after: number, signal: AbortSignal): AsyncGenerator<TailedItem> {
    const follower: Follower = { workspaceId, attempts: [], skipped: 0, newEvents: true, wake: () => undefined };
    const wake = (): void => follower.wake();
    signal.addEventListener('abort', wake, { once: true });
    this.#followers.add(follower);
    const stopSaying = this.#sayWatched(workspaceId);
    let seen = after;
    try {
      while (!signal.aborted && !this.#closed) {
        if (follower.newEvents) {
          follower.newEvents = false;
          const events = await this.#o.events.list(workspaceId, { after: seen, types: null, limit: eventsAtOnce });
          if (events.length === eventsAtOnce) follower.newEvents = true;
          for (const event of events) yield { kind: 'event', event };
          seen = events.at(-1)?.seq ?? seen;
        }
        for (const one of follower.attempts.splice(0)) yield { kind: 'attempt', attempt: one };
        if (follower.skipped > 0) yield { kind: 'skipped', attempts: follower.skipped };
        follower.skipped = 0;
        const isIdle = !follower.newEvents && follower.attempts.length === 0 && !signal.aborted && !this.#closed;
        if (isIdle)
          await new Promise<void>((resolve) => {
            follower.wake = resolve;
          });
      }
    } finally {
      stopSaying();
      this.#followers.delete(follower);
      signal.removeEventListener('abort', wake);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const follower of this.#followers) follower.wake();
    this.#cancelBatch?.();
    await this.#sending;
    for (const unlisten of this.#unlisten) unlisten();
  }

  #watch(workspaceId: string): void {
    const now = this.#o.clock.monotonic();
    for (const [id, until] of this.#watched) if (until <= now) this.#watched.delete(id);
    this.#watched.set(workspaceId, now + watchedMs);
  }

  #sayWatched(workspaceId: string): () => void {
    let cancel: () => void = () => undefined;
    const say = (): void => {
      this.#watch(workspaceId);
      this.#notify(watchChannel, workspaceId).catch((error: unknown) =>
        this.#o.log.debug('nobody was told that the workspace is watched', { reason: String(error) }),
      );
      cancel = this.#o.clock.after(sayAgainMs, say);
    };
    say();
    return () => cancel();
  }

  #received(payload: string): void {
    if (this.#followers.size === 0) return;
    try {
      const { workspaceId, attempts, skipped } = batch.parse(JSON.parse(payload));
      for (const follower of this.#followers) {
        if (follower.workspaceId !== workspaceId) continue;
        const room = Math.max(0, mostUnread - follower.attempts.length);
        follower.attempts.push(...attempts.slice(0, room));
        follower.skipped += skipped + Math.max(0, attempts.length - room);
        follower.wake();
      }
    } catch (error) {
      this.#o.log.warn('attempts of another process were not understood', { error });
    }
  }

  async #send(): Promise<void> {
    const all = [...this.#waiting];
    this.#waiting.clear();
    try {
      for (const [workspaceId, { attempts, skipped }] of all)
        for (const payload of payloadsOf(workspaceId, attempts, skipped)) await this.#notify(attemptChannel, payload);
    } catch (error) {
      this.#o.log.debug('attempts were not told of', { reason: String(error) });
    }
  }

  async #notify(channel: string, payload: string): Promise<void> {
    await sql`select pg_notify(${channel}, ${payload})`.execute(this.#o.database.kysely);
  }
}

/** As many attempts in each notification as fit. */
function* payloadsOf(workspaceId: string, attempts: readonly TailAttempt[], skipped: number): Generator<string> {
  let part: TailAttempt[] = [];
  let size = 0;
  for (const one of attempts) {
    const bytes = Buffer.byteLength(JSON.stringify(one)) + 1;
    if (size + bytes > mostBatchBytes && part.length > 0) {
      yield JSON.stringify({ workspaceId, attempts: part, skipped: 0 });
      part = [];
      size = 0;
    }
    part.push(one);
    size += bytes;
  }
  if (part.length > 0 || skipped > 0) yield JSON.stringify({ workspaceId, attempts: part, skipped });
}
