import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import { isConnectionLoss } from '@holdfast/db';
import type { Slice } from './slice.ts';
import type { WriteAnswer, WriteBatch } from './spending-store.ts';
import { batchOf, chargesOf, type EndWrite, type HoldWrite, type SliceChanges } from './write-batch.ts';

export interface SpendingWriterPorts {
  readonly clock: Clock;
  readonly log: Log;
  readonly write: (batch: WriteBatch) => Promise<WriteAnswer>;
  /** The process that writes, as it is called now. */
  readonly processId: () => string;
  readonly takeChanges: (charges: ReadonlyMap<Slice, number>) => SliceChanges;
  readonly hasChanges: () => boolean;
  /** The process was taken for dead; resolves when it is registered anew. */
  readonly fenced: () => Promise<void>;
  /** Told the database's time, when it was asked and when it had answered, on the monotonic clock. */
  readonly timed: (atMs: number, askedMs: number, answeredMs: number) => void;
  /** How long a call may wait for its hold to be durable. */
  readonly patienceMs: number;
}

/** What is not urgent waits this long for company. */
const lingerMs = 10;
const maxBatch = 500;
const firstPauseMs = 20;
const longestPauseMs = 1_000;

const nothing: SliceChanges = { changes: [], folded: [], written: () => undefined };

const isAway = (error: unknown): boolean =>
  isConnectionLoss(error) || (error instanceof HoldfastError && error.code === 'database.unreachable');

/** Errors after which the same statement may well succeed: serialisation, deadlock, resources, cancelled, locks. */
const isPassing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && /^(40|53|55|57)/.test(error.code);

/**
 * Writes everything a process has to write, one transaction at a time: while one is under way, whatever comes waits for the
 * next. So the cost of a durable write is shared by all calls that are waiting for it, and the busier the process, the
 * more share it. A batch has a number and is repeated until the database has answered, which applies it once.
 */
export class SpendingWriter {
  readonly #o: SpendingWriterPorts;
  #holds: HoldWrite[] = [];
  #ends: EndWrite[] = [];
  #barriers: (() => void)[] = [];
  #number = 0;
  #running: Promise<void> | null = null;
  #urgent = false;
  #cancelLinger: (() => void) | null = null;
  #stopped = false;
  #failing = false;

  constructor(ports: SpendingWriterPorts) {
    this.#o = ports;
  }

  /** Calls that wait for their hold, and ends that wait to be written. */
  get queued(): number {
    return this.#holds.length + this.#ends.length;
  }

  hold(hold: HoldWrite): void {
    if (this.#stopped) {
      hold.done('unavailable', '');
      return;
    }
    this.#holds.push(hold);
    this.#hurry();
  }

  end(end: EndWrite): void {
    if (this.#stopped) {
      end.done(new HoldfastError('budget.unavailable', 'The gateway is closed.'));
      return;
    }
    this.#ends.push(end);
    this.wake();
  }

  /** There is something to write, soon. */
  wake(): void {
    if (this.#running !== null || this.#cancelLinger !== null) return;
    this.#cancelLinger = this.#o.clock.after(lingerMs, () => {
      this.#cancelLinger = null;
      this.#start();
    });
  }

  /** Resolves when all of before is durable. */
  flush(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#barriers.push(resolve);
      this.#hurry();
    });
  }

  /** Writes nothing any more; what is left is given up. */
  stop(): void {
    this.#stopped = true;
    this.#cancelLinger?.();
    const error = new HoldfastError('budget.unavailable', 'The gateway closed before the database was back.');
    for (const hold of this.#holds.splice(0)) hold.done('unavailable', '');
    for (const end of this.#ends.splice(0)) end.done(error);
    for (const barrier of this.#barriers.splice(0)) barrier();
  }

  #hurry(): void {
    this.#urgent = true;
    if (this.#running !== null) return;
    this.#cancelLinger?.();
    // Calls that arrive in the same turn of the event loop share one write.
    this.#cancelLinger = () => clearImmediate(immediate);
    const immediate = setImmediate(() => {
      this.#cancelLinger = null;
      this.#start();
    });
  }

  #start(): void {
    if (this.#running !== null || this.#stopped) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (this.#stopped) return;
      if (this.#urgent) this.#hurry();
      else if (this.#ends.length > 0 || this.#o.hasChanges()) this.wake();
    });
  }

  async #run(): Promise<void> {
    do {
      this.#urgent = false;
      const holds = this.#takeHolds();
      const ends = this.#ends.splice(0, maxBatch);
      // Those who wait for everything of before wait for the batches that are needed for it.
      const barriers = this.#ends.length === 0 ? this.#barriers.splice(0) : [];
      if (this.#holds.length > 0 || this.#barriers.length > 0) this.#urgent = true;
      const changes = this.#o.takeChanges(chargesOf(ends, this.#o.processId()));
      try {
        await this.#write(holds, ends, changes);
      } catch (error) {
        this.#o.log.error('a write of budgets and ledger was given up', { error });
        for (const hold of holds) hold.done('unavailable', '');
        for (const end of ends) end.done(error);
        changes.written();
      }
      for (const barrier of barriers) barrier();
    } while (this.#urgent && !this.#stopped);
  }

  /** A hold whose slices are gone has nothing behind it: the process was taken for dead after it had reserved. */
  #takeHolds(): HoldWrite[] {
    const taken = this.#holds.splice(0, maxBatch);
    const isGone = (hold: HoldWrite): boolean => hold.slices.some((slice) => slice.gone);
    for (const hold of taken) if (isGone(hold)) hold.done('fenced', '');
    return taken.filter((hold) => !isGone(hold));
  }

  async #write(holds: readonly HoldWrite[], ends: readonly EndWrite[], changes: SliceChanges): Promise<void> {
    const processId = this.#o.processId();
    this.#number += 1;
    const batch = batchOf(this.#number, processId, holds, ends, changes);
    const waiting = new Patience(this.#o.clock, this.#o.patienceMs, holds);
    const answer = await this.#insist(batch).catch((error: unknown) => {
      waiting.stop();
      if (this.#stopped || isAway(error)) throw error;
      return null;
    });
    waiting.stop();
    if (answer === null) return await this.#writeOneByOne(waiting.left, ends, changes);
    if (answer.fenced) {
      this.#o.log.warn('this process was taken for dead; its open calls were settled at the cost of their input');
      await this.#o.fenced();
      for (const hold of waiting.left) hold.done('fenced', '');
      this.#ends.unshift(...ends);
      this.#urgent = true;
      return;
    }
    changes.written();
    const refused = new Set(answer.refused);
    for (const hold of waiting.left) hold.done(refused.has(hold.callId) ? 'stale' : 'kept', processId);
    for (const hold of waiting.lost) if (!refused.has(hold.callId)) this.#forget(hold, processId);
    for (const end of ends) end.done(null);
  }

  /** A hold was written after its call had given up. */
  #forget({ callId }: HoldWrite, processId: string): void {
    this.#ends.push({ processId, closes: callId, slices: [], charges: [], done: () => undefined });
    this.#urgent = true;
  }

  async #insist(batch: WriteBatch): Promise<WriteAnswer> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      const askedMs = this.#o.clock.monotonic();
      try {
        const answer = await this.#o.write(batch);
        if (!answer.fenced) this.#o.timed(answer.atMs, askedMs, this.#o.clock.monotonic());
        if (this.#failing) this.#o.log.info('budgets and ledger are written again');
        this.#failing = false;
        return answer;
      } catch (error) {
        if (this.#stopped || !(isAway(error) || isPassing(error))) throw error;
        if (!this.#failing) this.#o.log.warn('budgets and ledger cannot be written; no call is admitted', { error });
        this.#failing = true;
        await this.#o.clock.sleep(pauseMs);
      }
    }
  }

  /** The database refuses something in the batch for good: whatever that is must not take the rest with it. */
  async #writeOneByOne(holds: readonly HoldWrite[], ends: readonly EndWrite[], changes: SliceChanges): Promise<void> {
    const processId = this.#o.processId();
    const send = async (h: readonly HoldWrite[], e: readonly EndWrite[], c: SliceChanges): Promise<WriteAnswer> => {
      this.#number += 1;
      return await this.#insist(batchOf(this.#number, processId, h, e, c));
    };
    for (const hold of holds) {
      const answer = await send([hold], [], nothing).catch((error: unknown) => {
        this.#o.log.error('a hold cannot be written', { callId: hold.callId, error });
        return null;
      });
      const kept = answer?.refused.length === 0 ? 'kept' : 'stale';
      hold.done(answer === null || answer.fenced ? 'unavailable' : kept, processId);
    }
    for (const end of ends) {
      const failed = await send([], [end], nothing).then(
        () => null,
        (error: unknown) => error,
      );
      if (failed !== null) await this.#chargeWithoutRow(end, failed, send);
      end.done(null);
    }
    // Charges are part of these changes.
    await send([], [], changes);
    changes.written();
  }

  /** The money is counted even when the row cannot be stored; the row goes to the log. */
  async #chargeWithoutRow(
    end: EndWrite,
    error: unknown,
    send: (h: readonly HoldWrite[], e: readonly EndWrite[], c: SliceChanges) => Promise<WriteAnswer>,
  ): Promise<void> {
    const rows = end.charges.map(({ attempt }) => attempt);
    this.#o.log.error('rows of the ledger cannot be stored', { error, rows });
    const charges = end.charges.map(({ amounts }) => ({ attempt: null, amounts }));
    await send([], [{ ...end, charges }], nothing);
  }
}

/** Sends calls away whose hold is not durable in time; it may become so later. */
class Patience {
  left: readonly HoldWrite[];
  lost: readonly HoldWrite[] = [];
  readonly stop: () => void;

  constructor(clock: Clock, ms: number, holds: readonly HoldWrite[]) {
    this.left = holds;
    if (holds.length === 0) {
      this.stop = () => undefined;
      return;
    }
    this.stop = clock.after(ms, () => {
      [this.left, this.lost] = [[], this.left];
      for (const hold of this.lost) hold.done('unavailable', '');
    });
  }
}
