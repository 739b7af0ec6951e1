import type { Level } from './budget-directory.ts';
import { Slice } from './slice.ts';
import type { WindowChange } from './spending-store.ts';
import { windowOf } from './window.ts';
import type { SliceChanges } from './write-batch.ts';

interface Shelf {
  current: Slice;
  /** Of windows that ended, or that a change of the time zone or a clock left behind, while calls still use them. */
  older: Slice[];
}

/** Unused for this long, what is free goes back; and for that long, the slice ends. In milliseconds. */
const idleReturnMs = 2_000;
const idleEndMs = 60_000;

/** All slices of this process. */
export class SliceTable {
  readonly #shelves = new Map<string, Shelf>();
  readonly #byWindow = new Map<number, Slice>();
  readonly #dirty = new Set<Slice>();
  readonly #wake: () => void;
  #settled = false;

  /** `wake` is told when there is something to write. */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  get size(): number {
    return this.#shelves.size;
  }

  /** The slice of that level for that time; there is never more than one for a window. */
  at(level: Level, atMs: number): Slice {
    const { slice } = level;
    if (slice !== null && !slice.gone && !slice.retired && slice.budget === level.budget && slice.covers(atMs))
      return slice;
    const key = `${level.budget.id} ${level.subject}`;
    level.slice = this.#shelve(key, this.#shelves.get(key), level, atMs);
    return level.slice;
  }

  #shelve(key: string, shelf: Shelf | undefined, level: Level, atMs: number): Slice {
    const { budget, subject } = level;
    const window = windowOf(budget.period, budget.timeZone, atMs);
    const all = shelf === undefined ? [] : [shelf.current, ...shelf.older].filter((slice) => !slice.gone);
    const known = all.find((slice) => slice.startMs === window.startMs && slice.endMs === window.endMs);
    const next = known ?? new Slice(budget, subject, window);
    if (next.budget !== budget) {
      next.rebudget(budget);
      this.touch(next);
    }
    next.retired = false;
    const older = all.filter((slice) => slice !== next);
    for (const slice of older) this.#retire(slice);
    this.#shelves.set(key, { current: next, older });
    return next;
  }

  /** The window of a slice became known. */
  leased(slice: Slice): void {
    if (slice.windowId !== null) this.#byWindow.set(slice.windowId, slice);
    this.touch(slice);
  }

  /** Something of it is to be looked at with the next write. */
  touch(slice: Slice): void {
    if (slice.gone) return;
    this.#dirty.add(slice);
    this.#wake();
  }

  /** Somebody else needs it: what is free goes back. @returns false when there is nothing */
  recall(windowId: number): boolean {
    const slice = this.#byWindow.get(windowId);
    if (slice === undefined || slice.gone) return false;
    slice.tight = true;
    this.touch(slice);
    return true;
  }

  /** Lets go of what is not used. */
  tidy(atMs: number, monotonicMs: number): void {
    this.#settled = true;
    for (const { current, older } of this.#shelves.values())
      for (const slice of [current, ...older]) {
        const idleMs = monotonicMs - slice.usedAt;
        if (!slice.covers(atMs) || (idleMs > idleEndMs && slice.open === 0)) this.#retire(slice);
        else if (idleMs > idleReturnMs && slice.free > 0) slice.tight = true;
        if (slice.retired || slice.free < 0 || (slice.tight && slice.free > 0)) this.touch(slice);
      }
  }

  get hasChanges(): boolean {
    return this.#dirty.size > 0;
  }

  /** What to write with these charges, and which windows' slices end with that. */
  takeChanges(charges: ReadonlyMap<Slice, number>): SliceChanges {
    const changes: WindowChange[] = [];
    const folded: number[] = [];
    const settled = this.#settled;
    this.#settled = false;
    for (const slice of charges.keys()) if (!slice.gone) this.#dirty.add(slice);
    for (const slice of this.#dirty) {
      const change = slice.takeChange(charges.get(slice) ?? 0, settled);
      if (change !== null) changes.push(change);
      if (slice.retired && slice.spentUp) {
        if (slice.windowId !== null) folded.push(slice.windowId);
        this.#remove(slice);
      }
    }
    const unwritten = [...this.#dirty].filter((slice) => slice.unwritten);
    this.#dirty.clear();
    const written = (): void => {
      for (const slice of unwritten) slice.unwritten = false;
    };
    return { changes, folded, written };
  }

  /** The process was taken for dead: none of it is ours any more. */
  reset(): void {
    for (const { current, older } of this.#shelves.values()) for (const slice of [current, ...older]) slice.gone = true;
    this.#shelves.clear();
    this.#byWindow.clear();
    this.#dirty.clear();
  }

  /** All slices, for those who watch how full the budgets are. */
  *slices(): Iterable<Slice> {
    for (const { current } of this.#shelves.values()) yield current;
  }

  #retire(slice: Slice): void {
    slice.retired = true;
    this.touch(slice);
  }

  #remove(slice: Slice): void {
    slice.gone = true;
    if (slice.windowId !== null) this.#byWindow.delete(slice.windowId);
    const key = `${slice.budget.id} ${slice.subject}`;
    const shelf = this.#shelves.get(key);
    if (shelf === undefined) return;
    const older = shelf.older.filter((other) => other !== slice);
    if (shelf.current !== slice) this.#shelves.set(key, { current: shelf.current, older });
    else {
      const [next, ...rest] = older;
      if (next === undefined) this.#shelves.delete(key);
      else this.#shelves.set(key, { current: next, older: rest });
    }
  }
}
