import type { Clock, Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { discardEvents, type EventSink } from '../events/event.ts';
import { BudgetDirectory } from './budget-directory.ts';
import { GatewaySpending } from './gateway-spending.ts';
import { DatabaseTime, type SharedTime } from './shared-time.ts';
import { SliceTable } from './slice-table.ts';
import { SpendingProcess } from './spending-process.ts';
import { SpendingStore } from './spending-store.ts';
import { SpendingWriter } from './spending-writer.ts';
import { ThresholdWatch } from './threshold-watch.ts';
import { WaitingLine } from './waiting-line.ts';

export interface SpendingLimits {
  /** How long a call may wait for the database before it is refused with `budget.unavailable`; 5 s unless told. */
  readonly patienceMs: number;
  /** How long a call waits for what other processes have too much of; 300 ms unless told. */
  readonly recallMs: number;
  /** A process elsewhere that was silent for so long is taken for dead; 30 s unless told. */
  readonly silentMs: number;
  /** How long closing waits for a database that is away; 5 s unless told. */
  readonly farewellMs: number;
}

export interface SpendingOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly events?: EventSink;
  readonly limits?: Partial<SpendingLimits>;
  /** Instead of the database's time; for tests. */
  readonly time?: SharedTime;
}

const defaultLimits: SpendingLimits = { patienceMs: 5_000, recallMs: 300, silentMs: 30_000, farewellMs: 5_000 };

/**
 * Opens budgets, limits and the ledger in this process, and settles what dead processes left behind.
 * Errors: `database.unreachable`.
 */
export const openSpending = async (options: SpendingOptions): Promise<GatewaySpending> => {
  const { database, clock, log } = options;
  const limits = { ...defaultLimits, ...options.limits };
  const store = new SpendingStore(database);
  const process = new SpendingProcess({ store, clock, log, silentMs: limits.silentMs });
  await process.register();
  const time = options.time ?? (await databaseTime(store, clock));
  const slices: SliceTable = new SliceTable(() => writer.wake());
  let stopped = false;
  const writer = new SpendingWriter({
    ...{ clock, log, patienceMs: limits.patienceMs },
    write: (batch) => store.write(process.id, batch),
    processId: () => process.id,
    takeChanges: (charges) => slices.takeChanges(charges),
    hasChanges: () => slices.hasChanges,
    fenced: async () => {
      slices.reset();
      line.dismiss('again');
      await process.registerAnew(() => stopped);
    },
    timed: (atMs, askedMs, answeredMs) => time.observe(atMs, askedMs, answeredMs),
  });
  const line = new WaitingLine({
    ...{ slices, clock, recallMs: limits.recallMs, patienceMs: limits.patienceMs },
    now: () => time.now(),
    lease: async (requests) => {
      const leased = await store.lease(process.id, requests);
      // The next write finds out in the same way, and does what is to be done about it.
      if (leased === null) await writer.flush();
      return leased;
    },
    barrier: () => writer.flush(),
  });
  const unlisten = database.listen('gateway_recall', {
    message: (windowId) => void slices.recall(Number(windowId)),
    reset: () => undefined,
  });
  await process.sweep();
  const watch = new ThresholdWatch(database, options.events ?? discardEvents);
  const directory = new BudgetDirectory(store);
  const { farewellMs } = limits;
  const spending = new GatewaySpending({
    ...{ clock, log, time, directory, slices, line, writer, process, watch, farewellMs },
    closed: () => {
      stopped = true;
      unlisten();
    },
  });
  return spending;
};

const databaseTime = async (store: SpendingStore, clock: Clock): Promise<SharedTime> => {
  const askedMs = clock.monotonic();
  const atMs = await store.now();
  const time = new DatabaseTime(clock, atMs);
  time.observe(atMs, askedMs, clock.monotonic());
  return time;
};
