import type { BudgetPeriod } from './budget.ts';

/** A stretch of time in which a budget's amount may be spent once: from `startMs` on, before `endMs`. */
export interface Window {
  readonly startMs: number;
  /** Null: it never ends. */
  readonly endMs: number | null;
}

const minuteMs = 60_000;
const hourMs = 3_600_000;
const dayMs = 86_400_000;

const formats = new Map<string, Intl.DateTimeFormat>();
/** There are about 600 time zones. */
const maxFormats = 1_000;

const formatOf = (timeZone: string): Intl.DateTimeFormat => {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  if (formats.size < maxFormats) formats.set(timeZone, made);
  return made;
};

/** True for names such as `Europe/Berlin` and `UTC`; not for bare offsets, which know no daylight saving. */
export const isTimeZone = (timeZone: string): boolean => {
  if (!/^[A-Za-z]/.test(timeZone)) return false;
  try {
    formatOf(timeZone);
    return true;
  } catch {
    return false;
  }
};

/** The wall clock at that instant, written as if it were UTC. */
const localOf = (timeZone: string, atMs: number): number => {
  const part: Record<string, number> = {};
  for (const { type, value } of formatOf(timeZone).formatToParts(atMs)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second);
};

const offsetAt = (timeZone: string, atMs: number): number => localOf(timeZone, atMs) - Math.floor(atMs / 1_000) * 1_000;

/** The first instant in (`fromMs`, `toMs`] whose offset is that of `toMs`; they must differ. */
const transition = (timeZone: string, fromMs: number, toMs: number): number => {
  const after = offsetAt(timeZone, toMs);
  let [low, high] = [fromMs, toMs];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (offsetAt(timeZone, middle) === after) high = middle;
    else low = middle;
  }
  return high;
};

/** When the day begins that `localMidnight` (as if UTC) names: the first of two midnights, or the end of the gap where it is missing. */
const dayStart = (timeZone: string, localMidnight: number): number => {
  const before = localMidnight - offsetAt(timeZone, localMidnight - dayMs);
  const after = localMidnight - offsetAt(timeZone, localMidnight + dayMs);
  const [first, second] = before <= after ? [before, after] : [after, before];
  if (localOf(timeZone, first) === localMidnight) return first;
  if (localOf(timeZone, second) === localMidnight) return second;
  return transition(timeZone, first - 1, second);
};

/** Local midnight (as if UTC) at which the period begins that has this wall clock in it, `steps` periods later. */
const localStart = (period: 'day' | 'week' | 'month', local: number, steps: number): number => {
  const date = new Date(local);
  const [year, month, day] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()];
  if (period === 'month') return Date.UTC(year, month + steps, 1);
  if (period === 'day') return Date.UTC(year, month, day + steps);
  const sinceMonday = (date.getUTCDay() + 6) % 7;
  return Date.UTC(year, month, day - sinceMonday + steps * 7);
};

/** Minutes and hours of the wall clock, cut where the clock is changed within one. */
const fixedWindow = (timeZone: string, lengthMs: number, atMs: number): Window => {
  const offset = offsetAt(timeZone, atMs);
  const start = Math.floor((atMs + offset) / lengthMs) * lengthMs - offset;
  const end = start + lengthMs;
  return {
    startMs: offsetAt(timeZone, start) === offset ? start : transition(timeZone, start, atMs),
    endMs: offsetAt(timeZone, end - 1) === offset ? end : transition(timeZone, atMs, end - 1),
  };
};

/**
 * The window of a period that has the instant in it. The windows of one period and time zone follow each other without
 * gap or overlap, across changes of daylight saving too.
 */
export const windowOf = (period: BudgetPeriod, timeZone: string, atMs: number): Window => {
  if (period === 'total') return { startMs: 0, endMs: null };
  if (period === 'minute') return fixedWindow(timeZone, minuteMs, atMs);
  if (period === 'hour') return fixedWindow(timeZone, hourMs, atMs);
  const local = localOf(timeZone, atMs);
  const starts = [0, 1, 2].map((steps) => dayStart(timeZone, localStart(period, local, steps)));
  const [start = 0, next = 0, afterNext = 0] = starts;
  // A clock set back across midnight shows yesterday's date again when today has begun already.
  return atMs < next ? { startMs: start, endMs: next } : { startMs: next, endMs: afterNext };
};
