import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import { abandonedRow, attemptRow } from '../ledger/attempt-row.ts';
import type { AttemptRecord, Ledger } from '../ledger/ledger.ts';
import { refusalError } from '../limits/refusal.ts';
import type { BudgetDirectory, Level, WorkspaceBudgets } from './budget-directory.ts';
import { abandonedOf, type HoldPorts, OpenHold, sweptAmounts } from './hold.ts';
import type { SharedTime } from './shared-time.ts';
import type { Slice } from './slice.ts';
import type { SliceTable } from './slice-table.ts';
import type { CallFacts, Hold, Spending } from './spending.ts';
import type { SpendingProcess } from './spending-process.ts';
import type { SpendingWriter } from './spending-writer.ts';
import type { ThresholdWatch } from './threshold-watch.ts';
import type { Demand, Turn, WaitingLine } from './waiting-line.ts';
import type { HoldOutcome } from './write-batch.ts';

export interface SpendingParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly time: SharedTime;
  readonly directory: BudgetDirectory;
  readonly slices: SliceTable;
  readonly line: WaitingLine;
  readonly writer: SpendingWriter;
  readonly process: SpendingProcess;
  readonly watch: ThresholdWatch;
  /** How long `close` waits for a database that is away. */
  readonly farewellMs: number;
  /** Called when all is over. */
  readonly closed: () => void;
}

/** How often budgets may change under a call before it is sent away. */
const maxTries = 8;
const defaultDurationMs = 3_600_000;
const tickMs = 1_000;
/** Every so many ticks the process says that it lives and looks for neighbours that do not. */
const ticksPerSweep = 5;

/** What a budget of that unit has to have for the call. */
const demandOf = (facts: CallFacts, { budget }: Level): number => {
  if (budget.unit === 'requests') return 1;
  return budget.unit === 'tokens' ? facts.worstCaseTokens : Number(facts.worstCaseMicroUsd ?? 0n);
};

const isAmount = (amount: bigint): boolean => amount >= 0n && amount <= BigInt(Number.MAX_SAFE_INTEGER);
const isCount = (count: number): boolean => Number.isSafeInteger(count) && count >= 0;

const checkFacts = (facts: CallFacts): void => {
  const { worstCaseMicroUsd: worst, inputMicroUsd: input, worstCaseTokens, inputTokens, callId } = facts;
  const priced = worst === null || (isAmount(worst) && input <= worst);
  if (!priced || !isAmount(input) || !isCount(worstCaseTokens) || !isCount(inputTokens))
    throw new HoldfastError('request.invalid', 'What a call may use is whole and not negative.', { callId });
};

const unavailable = (cause: unknown): HoldfastError =>
  new HoldfastError('budget.unavailable', undefined, { retryAfterMs: 1_000 }, { cause });

/**
 * Admits calls. The order is always: reserve in memory at all levels, write the hold, and only then let the call begin; so
 * a crash at any point leaves either a hold that the sweeper settles, or slices that nobody spent of.
 */
export class GatewaySpending implements Spending {
  readonly ledger: Ledger;
  readonly #p: SpendingParts;
  readonly #ports: HoldPorts;
  readonly #holds = new Map<string, OpenHold>();
  #closing: Promise<void> | null = null;
  #ticks = 0;
  #ticking: Promise<void> = Promise.resolve();
  #cancelTick: () => void = () => undefined;

  constructor(parts: SpendingParts) {
    this.#p = parts;
    this.#ports = {
      end: (end) => parts.writer.end(end),
      touch: (slice) => {
        parts.slices.touch(slice);
        parts.watch.touch(slice);
      },
      closed: (id) => void this.#holds.delete(id),
    };
    this.ledger = { append: (records) => this.#append(records) };
    this.#planTick();
  }

  get openHolds(): number {
    return this.#holds.size;
  }

  async admit(facts: CallFacts): Promise<Hold> {
    checkFacts(facts);
    const { directory } = this.#p;
    let stale = false;
    for (let tries = 0; tries < maxTries; tries += 1) {
      if (this.#closing !== null) throw new HoldfastError('gateway.closed');
      const known = stale ? undefined : directory.peek(facts.scopes.workspaceId);
      const budgets = known ?? (await this.#load(facts.scopes.workspaceId));
      const hold = await this.#try(facts, budgets, known === undefined);
      if (typeof hold !== 'string') return hold;
      if (hold === 'unavailable') throw unavailable(undefined);
      stale = hold === 'stale';
    }
    throw unavailable(undefined);
  }

  /** Resolves when all that was settled before is durable. */
  flush(): Promise<void> {
    return this.#p.writer.flush();
  }

  /** What the ticks do, at once: for those who do not want to wait for them. */
  async tidy(): Promise<void> {
    await this.#tick(true);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #load(workspaceId: string): Promise<WorkspaceBudgets> {
    try {
      return await this.#p.directory.load(workspaceId);
    } catch (error) {
      throw unavailable(error);
    }
  }

  async #try(facts: CallFacts, budgets: WorkspaceBudgets, fresh: boolean): Promise<Hold | HoldOutcome | 'again'> {
    const { slices, line, time } = this.#p;
    const levels = budgets.match(facts.scopes);
    const unpriced =
      facts.worstCaseMicroUsd === null && levels.find((l) => l.budget.hard && l.budget.unit === 'micro_usd');
    if (unpriced && !fresh) return 'stale';
    if (unpriced) {
      const { id, scope } = unpriced.budget;
      throw new HoldfastError('budget.unpriced', undefined, { budgetId: id, scope, model: facts.first.providerModel });
    }
    const admittedAtMs = time.now();
    const demand: Demand = {
      slices: levels.map((level) => slices.at(level, admittedAtMs)),
      amounts: levels.map((level) => demandOf(facts, level)),
    };
    const turn = line.tryReserve(demand) ? 'reserved' : await line.wait(demand);
    if (turn !== 'reserved') return this.#turnedAway(turn, demand);
    const { outcome, processId } = await this.#write(facts, budgets.generation, demand, admittedAtMs);
    const reserved = demand.slices.map(({ budget }, i) => (budget.hard ? (demand.amounts[i] ?? 0) : 0));
    if (outcome === 'kept') return this.#open(facts, demand.slices, reserved, processId, admittedAtMs);
    demand.slices.forEach((slice, i) => {
      slice.settle(reserved[i] ?? 0, 0);
      slices.touch(slice);
    });
    return outcome;
  }

  #turnedAway(turn: Exclude<Turn, 'reserved'>, demand: Demand): 'again' | 'stale' {
    if (turn === 'again' || turn === 'stale') return turn;
    if ('failed' in turn) throw unavailable(turn.failed);
    const slice = turn.refusedBy;
    this.#p.watch.refused(slice);
    const needed = demand.amounts[demand.slices.indexOf(slice)] ?? 0;
    const { budget, subject, endMs } = slice;
    throw refusalError({ budget, subject, endMs, nowMs: this.#p.time.now(), needed });
  }

  #write(
    facts: CallFacts,
    generation: number,
    { slices }: Demand,
    admittedAtMs: number,
  ): Promise<{ readonly outcome: HoldOutcome; readonly processId: string }> {
    return new Promise((resolve) => {
      this.#p.writer.hold({
        callId: facts.callId,
        workspaceId: facts.scopes.workspaceId,
        generation,
        slices,
        sweptAmounts: sweptAmounts(facts, slices),
        attempt: abandonedRow(abandonedOf(facts), admittedAtMs),
        done: (outcome, processId) => resolve({ outcome, processId }),
      });
    });
  }

  #open(
    facts: CallFacts,
    slices: readonly Slice[],
    reserved: readonly number[],
    processId: string,
    admittedAtMs: number,
  ): Hold {
    const expiresAt = this.#p.clock.monotonic() + (facts.maxDurationMs ?? defaultDurationMs);
    const hold = new OpenHold({ facts, slices, reserved, processId, admittedAtMs, expiresAt, ports: this.#ports });
    this.#holds.set(hold.id, hold);
    return hold;
  }

  #append(records: readonly AttemptRecord[]): Promise<void> {
    const { writer, process, time } = this.#p;
    const now = time.now();
    return new Promise((resolve, reject) => {
      writer.end({
        ...{ processId: process.id, closes: null, slices: [] },
        charges: records.map((record) => ({ attempt: attemptRow(record, now), amounts: [] })),
        done: (error) => (error === null ? resolve() : reject(error)),
      });
    });
  }

  #planTick(): void {
    this.#cancelTick = this.#p.clock.after(tickMs, () => {
      this.#ticks += 1;
      this.#ticking = this.#tick(this.#ticks % ticksPerSweep === 0).finally(() => {
        if (this.#closing === null) this.#planTick();
      });
    });
  }

  async #tick(sweep: boolean): Promise<void> {
    const { slices, clock, time, watch, writer, process, log } = this.#p;
    const monotonic = clock.monotonic();
    for (const hold of this.#holds.values()) {
      if (hold.expiresAt > monotonic) continue;
      log.warn('a call was never settled; its input is charged', { callId: hold.id });
      hold.expire(defaultDurationMs).catch((error: unknown) => log.warn('an expired hold was not stored', { error }));
    }
    slices.tidy(time.now(), monotonic);
    await watch.look().catch((error: unknown) => log.debug('thresholds were not looked at', { reason: String(error) }));
    if (!sweep) return;
    // An empty write says that the process lives.
    writer.wake();
    await process.sweep();
  }

  async #close(): Promise<void> {
    const { writer, process, clock, farewellMs, log, line } = this.#p;
    this.#cancelTick();
    line.dismiss({ failed: new HoldfastError('gateway.closed') });
    const leaving = this.#ticking.then(() => writer.flush()).then(() => process.leave());
    const left = leaving.then(
      () => true,
      (error: unknown) => {
        log.warn('this process could not leave the budgets in order; its neighbours will', { error });
        return true;
      },
    );
    let cancel: () => void = () => undefined;
    const gaveUp = new Promise<boolean>((resolve) => {
      cancel = clock.after(farewellMs, () => resolve(false));
    });
    if (!(await Promise.race([left, gaveUp]))) log.warn('the database stayed away while closing');
    cancel();
    writer.stop();
    this.#p.closed();
  }
}
