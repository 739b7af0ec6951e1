import { formatTime, parseTime } from './time.js';

/** `HH:MM-HH:MM` to `{ start, end }`. */
export function parseInterval(text) {
  const [from = '', to = ''] = text.split('-');
  const interval = { start: parseTime(from), end: parseTime(to) };
  if (interval.end <= interval.start) throw new RangeError(`ends before it starts: ${text}`);
  return interval;
}

export function formatInterval({ start, end }) {
  return `${formatTime(start)}-${formatTime(end)}`;
}

/** The same time as `intervals`, sorted, with what overlaps or touches joined. */
export function merge(intervals) {
  const sorted = [...intervals].sort((a, b) => a.start - b.start);
  const merged = [];
  for (const { start, end } of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last.end) last.end = end;
    else merged.push({ start, end });
  }
  return merged;
}

/** What is left of `whole` without `busy`. */
export function subtract(whole, busy) {
  const free = [];
  let from = whole.start;
  for (const { start, end } of merge(busy)) {
    if (end <= whole.start || start >= whole.end) continue;
    if (start > from) free.push({ start: from, end: start });
    from = end;
  }
  if (from < whole.end) free.push({ start: from, end: whole.end });
  return free;
}
