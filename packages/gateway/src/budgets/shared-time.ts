import type { Clock } from '@holdfast/core';

/** The time that decides which window is open, the same for all processes: the database's. */
export interface SharedTime {
  /** Milliseconds since 1970. */
  now(): number;
  /** The database said `atMs` some time between the two instants of the monotonic clock. */
  observe(atMs: number, askedMs: number, answeredMs: number): void;
}

/** Answers that took longer say too little about the time. */
const usefulMs = 1_000;

/**
 * Follows the database's clock between two answers by the monotonic clock, so that neither a wrong clock of this machine
 * nor one that jumps opens or closes a window.
 */
export class DatabaseTime implements SharedTime {
  readonly #clock: Clock;
  #offsetMs: number;

  constructor(clock: Clock, atMs: number) {
    this.#clock = clock;
    this.#offsetMs = atMs - clock.monotonic();
  }

  now(): number {
    return this.#clock.monotonic() + this.#offsetMs;
  }

  observe(atMs: number, askedMs: number, answeredMs: number): void {
    if (answeredMs - askedMs < usefulMs) this.#offsetMs = atMs - (askedMs + answeredMs) / 2;
  }
}
