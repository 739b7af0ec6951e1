import { formatInterval, merge, parseInterval, subtract } from './interval.js';
import { parseTime } from './time.js';

/** Slots of at least `minutes` between `from` and `to` that no meeting touches, earliest first. */
export function freeSlots(meetings, { from, to, minutes = 1 }) {
  const day = { start: parseTime(from), end: parseTime(to) };
  return subtract(day, meetings.map(parseInterval))
    .filter(({ start, end }) => end - start >= minutes)
    .map(formatInterval);
}

/** True when a new meeting would not touch any other. */
export function canBook(meetings, wanted) {
  const { start, end } = parseInterval(wanted);
  return merge(meetings.map(parseInterval)).every((busy) => end <= busy.start || start >= busy.end);
}

/** Minutes between `from` and `to` that at least one meeting takes. */
export function busyMinutes(meetings, { from, to }) {
  const day = { start: parseTime(from), end: parseTime(to) };
  const free = subtract(day, meetings.map(parseInterval));
  return day.end - day.start - free.reduce((sum, { start, end }) => sum + end - start, 0);
}
