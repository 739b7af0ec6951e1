/** Time as an argument: everything that waits or stamps takes a `Clock`, so tests can move time by hand. */
export interface Clock {
  /** Milliseconds since 1970, for timestamps. */
  now(): number;
  /** Milliseconds that never go back, for durations. */
  monotonic(): number;
  /** Calls back once after `ms`; the returned function cancels it. A pending call does not keep the process alive. */
  after(ms: number, callback: () => void): () => void;
  /** Resolves after `ms`, or rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

type Schedule = (ms: number, callback: () => void) => () => void;

const sleepOn = (schedule: Schedule, ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = schedule(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });

/** Timers beyond 2^31-1 ms would fire at once. */
const longestTimerMs = 2_147_483_647;

const holdingTimer: Schedule = (ms, callback) => {
  const timer = setTimeout(callback, Math.min(Math.max(ms, 0), longestTimerMs));
  return () => clearTimeout(timer);
};

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(ms, 0), longestTimerMs));
    // Browsers return a number, which needs no unref.
    if (typeof timer === 'object') timer.unref();
    return () => clearTimeout(timer);
  },
  // Somebody awaits a sleep, so unlike `after` it keeps the process alive.
  sleep: (ms, signal) => sleepOn(holdingTimer, ms, signal),
};

interface Pending {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock that stands still until `advance` moves it; for tests. */
export class ManualClock implements Clock {
  #now: number;
  readonly #start: number;
  readonly #pending = new Set<Pending>();

  constructor(startMs = 1_700_000_000_000) {
    this.#now = startMs;
    this.#start = startMs;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  after(ms: number, callback: () => void): () => void {
    const entry: Pending = { at: this.#now + Math.max(ms, 0), callback };
    this.#pending.add(entry);
    return () => this.#pending.delete(entry);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return sleepOn((delay, callback) => this.after(delay, callback), ms, signal);
  }

  /** Moves time forward, firing what becomes due in order, each at its own instant. */
  advance(ms: number): void {
    const target = this.#now + ms;
    for (;;) {
      const due = [...this.#pending].filter((p) => p.at <= target).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#pending.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = target;
  }
}
