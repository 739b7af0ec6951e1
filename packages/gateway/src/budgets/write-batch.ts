import { fieldEnd, rowEnd } from '../ledger/attempt-row.ts';
import type { Slice } from './slice.ts';
import type { WindowChange, WriteBatch } from './spending-store.ts';

/** How the write of a hold ended. */
export type HoldOutcome = 'kept' | 'stale' | 'fenced' | 'unavailable';

/** A call that wants to begin. */
export interface HoldWrite {
  readonly callId: string;
  readonly workspaceId: string;
  /** Of the budgets that the call was checked against. */
  readonly generation: number;
  readonly slices: readonly Slice[];
  /** What each is charged when nobody lives to settle the call. */
  readonly sweptAmounts: readonly number[];
  /** The ledger row for that case. */
  readonly attempt: string;
  /** Called once, with the process that the hold was written for. */
  readonly done: (outcome: HoldOutcome, processId: string) => void;
}

/** A ledger row, and what it charges each slice. */
export interface Charge {
  /** Null charges without a row. */
  readonly attempt: string | null;
  readonly amounts: readonly number[];
}

/** A call that ended, or a part of it. */
export interface EndWrite {
  /** The process that the hold belongs to. */
  readonly processId: string;
  /** The call whose hold ends with this; null: it goes on, or there is none. */
  readonly closes: string | null;
  readonly slices: readonly Slice[];
  readonly charges: readonly Charge[];
  /** Called once, when it is durable or given up. */
  readonly done: (error: unknown) => void;
}

/** What the slices have to say; taken for one batch and never twice. */
export interface SliceChanges {
  readonly changes: readonly WindowChange[];
  readonly folded: readonly number[];
  /** To be called when they are in the database. */
  readonly written: () => void;
}

/** Null when there is none, since the functions of the database take an empty text for one empty row. */
const rowsOf = (rows: readonly string[]): string | null => (rows.length === 0 ? null : rows.join(rowEnd));

/** Stands before the ledger row of a hold. */
const attemptFollows = '\x1d';

const windowsOf = (slices: readonly Slice[]): number[] =>
  slices.map((slice) => {
    if (slice.windowId === null) throw new Error('a call has reserved from a slice that was never leased');
    return slice.windowId;
  });

const holdRow = (hold: HoldWrite): string => {
  const charges = windowsOf(hold.slices).map((window, i) => `${window}:${hold.sweptAmounts[i] ?? 0}`);
  const head = `${hold.callId}${fieldEnd}${hold.workspaceId}${fieldEnd}${charges.join(',')}${fieldEnd}`;
  return head + attemptFollows + hold.attempt;
};

const lateOf = (end: EndWrite) =>
  end.charges.flatMap(({ attempt, amounts }) =>
    attempt === null ? [] : [{ attempt, windows: windowsOf(end.slices), amounts }],
  );

/** What the calls of these ends spent of each slice. */
export const chargesOf = (ends: readonly EndWrite[], processId: string): Map<Slice, number> => {
  const sums = new Map<Slice, number>();
  for (const { processId: owner, slices, charges } of ends) {
    if (owner !== processId) continue;
    slices.forEach((slice, i) => {
      let sum = sums.get(slice) ?? 0;
      for (const { amounts } of charges) sum += amounts[i] ?? 0;
      sums.set(slice, sum);
    });
  }
  return sums;
};

/** One transaction for all of it. Ends of holds that another process swept for us are charged as late. */
export const batchOf = (
  number: number,
  processId: string,
  holds: readonly HoldWrite[],
  ends: readonly EndWrite[],
  { changes, folded }: SliceChanges,
): WriteBatch => {
  const mine = ends.filter((end) => end.processId === processId);
  const late = ends.filter((end) => end.processId !== processId).flatMap(lateOf);
  const attempts = mine.flatMap(({ charges }) => charges.flatMap(({ attempt }) => (attempt === null ? [] : [attempt])));
  return {
    number,
    holds: rowsOf(holds.map(holdRow)),
    generations: new Map(holds.map((hold) => [hold.workspaceId, hold.generation])),
    closed: mine.flatMap(({ closes }) => (closes === null ? [] : [closes])),
    attempts: rowsOf(attempts),
    windows: changes,
    folded,
    late: late.length === 0 ? null : JSON.stringify(late),
  };
};
