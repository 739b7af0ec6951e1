import type { Clock } from '@holdfast/core';

export interface BreakerLimits {
  /** Failures in a row after which a target is left alone. */
  readonly failuresToOpen: number;
  /** How long at first; twice as long each time that the probe afterwards fails, too. */
  readonly firstOpenMs: number;
  readonly maxOpenMs: number;
}

export const defaultBreaker: BreakerLimits = { failuresToOpen: 5, firstOpenMs: 5_000, maxOpenMs: 300_000 };

/** No provider is believed that asks to be left alone for longer. */
const maxCooldownMs = 3_600_000;
/** Share of the newest sample in the running mean of latency. */
const newestShare = 0.2;
/** A latency older than this is measured again. */
const latencyFreshMs = 60_000;

export type HealthState = 'well' | 'cooling' | 'open' | 'half-open';

export interface HealthReport {
  readonly state: HealthState;
  /** Until it is asked again; 0 when it may be asked now. */
  readonly remainingMs: number;
  readonly failuresInARow: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Mean time to the first content, of a whole answer to its end; null before the first one. */
  readonly latencyMs: number | null;
}

/**
 * What is known of one target: a breaker that opens after failures in a row and then lets one call probe, and a cooldown
 * that the provider asked for. Counted in this process; others find out by themselves.
 */
export class TargetHealth {
  readonly #clock: Clock;
  readonly #limits: BreakerLimits;
  #failuresInARow = 0;
  #timesOpened = 0;
  /** `Clock.monotonic` until which nobody is let through. */
  #openUntil = 0;
  #coolUntil = 0;
  #isOpen = false;
  #probing = false;
  #succeeded = 0;
  #failed = 0;
  #latencyMs: number | null = null;
  #latencyAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, limits: BreakerLimits = defaultBreaker) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** False while the target shall be left alone. */
  get mayBeAsked(): boolean {
    if (!this.#isOpen && this.#coolUntil === 0) return true;
    const now = this.#clock.monotonic();
    if (now < this.#coolUntil) return false;
    return !this.#isOpen || (now >= this.#openUntil && !this.#probing);
  }

  /** Milliseconds until it may be asked; 0 when it may. */
  get remainingMs(): number {
    const until = Math.max(this.#isOpen ? this.#openUntil : 0, this.#coolUntil);
    return Math.max(0, until - this.#clock.monotonic());
  }

  get isCooling(): boolean {
    return this.#clock.monotonic() < this.#coolUntil;
  }

  /** For the order by latency; null when it is not known, or too old while nobody is finding out. */
  get freshLatencyMs(): number | null {
    const now = this.#clock.monotonic();
    const stale = now - this.#latencyAt > latencyFreshMs && now - this.#askedAt > latencyFreshMs;
    return stale ? null : (this.#latencyMs ?? Number.POSITIVE_INFINITY);
  }

  /** A call is on its way. One of `succeeded`, `failed`, `coolDown` and `undecided` must follow. */
  begin(): void {
    this.#askedAt = this.#clock.monotonic();
    if (this.#isOpen) this.#probing = true;
  }

  /** True when this closed the breaker. */
  succeeded(latencyMs: number): boolean {
    this.#succeeded += 1;
    this.#latencyMs =
      this.#latencyMs === null ? latencyMs : this.#latencyMs + (latencyMs - this.#latencyMs) * newestShare;
    this.#latencyAt = this.#clock.monotonic();
    return this.#close();
  }

  /** The target is at fault. True when this opened the breaker. */
  failed(): boolean {
    this.#failed += 1;
    this.#failuresInARow += 1;
    const wasProbe = this.#probing;
    this.#probing = false;
    // Calls that were under way when it opened fail as well, and say nothing new.
    if (this.#isOpen && !wasProbe) return false;
    const { failuresToOpen, firstOpenMs, maxOpenMs } = this.#limits;
    if (!wasProbe && this.#failuresInARow < failuresToOpen) return false;
    this.#openUntil = this.#clock.monotonic() + Math.min(maxOpenMs, firstOpenMs * 2 ** this.#timesOpened);
    this.#timesOpened = Math.min(this.#timesOpened + 1, 16);
    const opened = !this.#isOpen;
    this.#isOpen = true;
    return opened;
  }

  /** It answered, and asks to be left alone for so long. True when this closed the breaker. */
  coolDown(ms: number): boolean {
    this.#failed += 1;
    this.leaveAlone(ms);
    return this.#close();
  }

  /** It asks, on top of a failure, to be left alone for so long. */
  leaveAlone(ms: number): void {
    this.#coolUntil = Math.max(this.#coolUntil, this.#clock.monotonic() + Math.min(Math.max(ms, 0), maxCooldownMs));
  }

  /** The call ended for reasons that say nothing of the target. */
  undecided(): void {
    this.#probing = false;
  }

  report(): HealthReport {
    const remainingMs = this.remainingMs;
    const open = remainingMs > 0 ? 'open' : 'half-open';
    return {
      state: this.isCooling ? 'cooling' : this.#isOpen ? open : 'well',
      remainingMs,
      failuresInARow: this.#failuresInARow,
      succeeded: this.#succeeded,
      failed: this.#failed,
      latencyMs: this.#latencyMs,
    };
  }

  #close(): boolean {
    const closed = this.#isOpen;
    this.#isOpen = false;
    this.#probing = false;
    this.#failuresInARow = 0;
    this.#timesOpened = 0;
    return closed;
  }
}

const maxTargets = 10_000;

/** The health of all targets, by a name that outlives a change of the configuration. */
export class HealthBook {
  readonly #clock: Clock;
  readonly #limits: BreakerLimits;
  readonly #entries = new Map<string, TargetHealth>();

  constructor(clock: Clock, limits: BreakerLimits = defaultBreaker) {
    this.#clock = clock;
    this.#limits = limits;
  }

  of(key: string): TargetHealth {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const made = new TargetHealth(this.#clock, this.#limits);
    // Callers may name models as they like: the oldest entry gives way.
    if (this.#entries.size >= maxTargets)
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    this.#entries.set(key, made);
    return made;
  }
}
