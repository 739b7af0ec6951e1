/** `HH:MM` to minutes since midnight; `24:00` is the end of the day. */
export function parseTime(text) {
  const match = /^(\d{2}):(\d{2})$/.exec(text);
  if (match === null) throw new RangeError(`not a time: ${text}`);
  const minutes = Number(match[1]) * 60 + Number(match[2]);
  if (Number(match[2]) > 59 || minutes > 24 * 60) throw new RangeError(`not a time: ${text}`);
  return minutes;
}

/** Minutes since midnight to `HH:MM`. */
export function formatTime(minutes) {
  const two = (n) => String(n).padStart(2, '0');
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
