import type { AwakeReason } from '@holdfast/contract';
import type { Clock } from '@holdfast/core';

export interface ActivityOptions {
  readonly clock: Clock;
  readonly idleTimeoutMs: number;
  /** Called when nothing has held the sandbox awake for its idle time-out. */
  readonly onIdle: () => void;
}

interface Held {
  readonly kind: AwakeReason['kind'];
  readonly detail: string;
  readonly since: number;
}

/** What holds one sandbox awake, and when that ends. */
export class Activity {
  readonly #options: ActivityOptions;
  readonly #held = new Set<Held>();
  #lastActive: number;
  #keepAliveUntil = 0;
  #cancelTimer: (() => void) | null = null;

  constructor(options: ActivityOptions) {
    this.#options = options;
    this.#lastActive = options.clock.now();
  }

  /** Holds the sandbox awake until the function it gives is called. */
  begin(kind: AwakeReason['kind'], detail: string): () => void {
    const held = { kind, detail, since: this.#options.clock.now() };
    this.#held.add(held);
    this.#stopTimer();
    return () => {
      if (!this.#held.delete(held)) return;
      this.touch();
    };
  }

  /** Counts as activity now, and lets the idle time begin again. */
  touch(): void {
    this.#lastActive = this.#options.clock.now();
    this.#schedule();
  }

  keepAlive(until: number): void {
    this.#keepAliveUntil = until;
    this.touch();
  }

  get keepAliveUntil(): number {
    return this.#keepAliveUntil;
  }

  get lastActive(): number {
    return this.#lastActive;
  }

  /** Whether something is going on now; the grace after it does not count. */
  get isBusy(): boolean {
    return this.#held.size > 0 || this.#keepAliveUntil > this.#options.clock.now();
  }

  /** When it will stand by, or null when that is not yet known or never. */
  get standbyAt(): number | null {
    if (this.#held.size > 0 || this.#options.idleTimeoutMs === 0) return null;
    return Math.max(this.#lastActive + this.#options.idleTimeoutMs, this.#keepAliveUntil);
  }

  reasons(): AwakeReason[] {
    const iso = (ms: number) => new Date(ms).toISOString();
    const reasons: AwakeReason[] = [...this.#held].map((held) => ({
      kind: held.kind,
      detail: held.detail,
      since: iso(held.since),
      until: null,
    }));
    const now = this.#options.clock.now();
    const since = iso(this.#lastActive);
    if (this.#keepAliveUntil > now) {
      reasons.push({ kind: 'keep_alive', detail: 'asked to stay awake', since, until: iso(this.#keepAliveUntil) });
    }
    if (reasons.length > 0) return reasons;
    if (this.#options.idleTimeoutMs === 0) {
      return [
        {
          kind: 'recent_activity',
          detail: 'its idle time-out is 0: it never stands by on its own',
          since,
          until: null,
        },
      ];
    }
    const until = iso(this.#lastActive + this.#options.idleTimeoutMs);
    return [{ kind: 'recent_activity', detail: 'idle, waiting for its time-out', since, until }];
  }

  /** No timer is left behind. */
  stop(): void {
    this.#stopTimer();
  }

  #schedule(): void {
    this.#stopTimer();
    const at = this.standbyAt;
    if (at === null) return;
    this.#cancelTimer = this.#options.clock.after(at - this.#options.clock.now(), () => this.#fire());
  }

  #fire(): void {
    const at = this.standbyAt;
    if (at === null) return;
    if (at > this.#options.clock.now()) this.#schedule();
    else this.#options.onIdle();
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }
}
