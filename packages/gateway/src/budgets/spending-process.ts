import { type Clock, HoldfastError, type Log, newId } from '@holdfast/core';
import { hasEnded, ownMark, type ProcessMark } from './liveness.ts';
import type { SpendingStore } from './spending-store.ts';

export interface SpendingProcessOptions {
  readonly store: SpendingStore;
  readonly clock: Clock;
  readonly log: Log;
  /** A process that wrote nothing for so long is taken for dead. */
  readonly silentMs: number;
}

/**
 * This process as its neighbours see it, and their end as it sees it. A neighbour on the same machine that ended is
 * reclaimed at once, one elsewhere after it was silent for `silentMs`.
 */
export class SpendingProcess {
  readonly #o: SpendingProcessOptions;
  readonly #mark: ProcessMark = ownMark();
  #id = '';
  /** Monotonic instant since which the database was there all the time; null: it was not, a moment ago. */
  #contactSince: number | null = null;

  constructor(options: SpendingProcessOptions) {
    this.#o = options;
  }

  get id(): string {
    return this.#id;
  }

  /** Registers under a new id. Errors: `database.unreachable`. */
  async register(): Promise<void> {
    const id = newId('gwp', this.#o.clock);
    await this.#o.store.register({ id, ...this.#mark });
    this.#id = id;
  }

  /** The same, for as long as it takes; gives up with an error when `stopped`. */
  async registerAnew(stopped: () => boolean): Promise<void> {
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
      try {
        return await this.register();
      } catch (error) {
        if (stopped()) throw error;
        this.#o.log.debug('the gateway process is not registered yet', { reason: String(error) });
        await this.#o.clock.sleep(pauseMs);
      }
    }
  }

  /** Settles what dead processes left, and deletes old windows. Never throws. @returns how many calls were swept */
  async sweep(): Promise<number> {
    try {
      return await this.#sweep();
    } catch (error) {
      this.#contactSince = null;
      const away = error instanceof HoldfastError && error.code === 'database.unreachable';
      if (!away) this.#o.log.warn('dead gateway processes cannot be swept', { error });
      return 0;
    }
  }

  async #sweep(): Promise<number> {
    const { store, clock, log, silentMs } = this.#o;
    const { rows, now } = await store.processes();
    this.#contactSince ??= clock.monotonic();
    // After an outage of the database everybody looks silent; they get as long as ever to be heard again.
    const mayJudge = clock.monotonic() - this.#contactSince >= silentMs;
    const silentSince = new Date(now.getTime() - silentMs);
    let swept = 0;
    for (const row of rows) {
      if (row.id === this.#id) continue;
      const ended = hasEnded(this.#mark, row);
      if (!ended && !(mayJudge && row.seenAt <= silentSince)) continue;
      const holds = await store.reclaim(row.id, silentSince, ended);
      if (holds === null) continue;
      log.info('a dead gateway process was swept', { process: row.id, calls: holds });
      swept += holds;
    }
    await store.prune();
    return swept;
  }

  /** Ends this process in the database: what is still open is settled at the cost of its input. */
  async leave(): Promise<void> {
    await this.#o.store.reclaim(this.#id, new Date(0), true);
  }
}
