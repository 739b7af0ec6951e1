import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';

/** The lines of the RAM shim's protocol; `native/ramshim.c` describes it. The process that sends them counts as hostile. */

/** A command with its line feed is shorter than this. */
const maxCommandBytes = 65_536;
/** An answer or event is far shorter. */
export const maxAnswerBytes = 4_096;

const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const ramSaved = z.strictObject({
  /** Pages that were private copies and are in the data file now. */
  dirtyPages: count,
  /** Fewer than the dirty pages' bytes when some are all zeros. */
  writtenBytes: count,
  /** Pages of the whole image, those of loaded layers included. */
  totalPages: count,
  indexBytes: count,
  us: count,
});

export const ramLoadFigures = z.strictObject({
  copiedPages: count,
  mappedPages: count,
  mappings: count,
  /** Pages whose checksums were compared before the answer. */
  verifiedPages: count,
  us: count,
});

export const ramStatus = z.strictObject({
  version: z.literal(1),
  /** Whether QEMU has mapped its RAM yet. */
  mapped: z.boolean(),
  shared: z.boolean(),
  /** Whether the process can write the RAM file. */
  writable: z.boolean(),
  ramBytes: count,
  loadedPages: count,
  layers: count,
  verify: z.enum(['none', 'running', 'done', 'corrupt', 'stopped']),
  verifiedPages: count,
  /** -1 when none was found. */
  corruptPage: z.number().int().min(-1).max(Number.MAX_SAFE_INTEGER),
  scan: z.enum(['ioctl', 'pagemap', 'none']),
  crc: z.enum(['sse4.2', 'table']),
});

export const ramDirty = z.strictObject({ dirtyPages: count, runs: count, us: count });

export const nothing = z.strictObject({});

const shimEvent = z.union([
  z.strictObject({ verified: count }),
  z.strictObject({ corrupt: count }),
  z.strictObject({ stopped: count }),
]);

export type RamSaved = z.output<typeof ramSaved>;
export type RamLoadFigures = z.output<typeof ramLoadFigures>;
export type RamStatus = z.output<typeof ramStatus>;
export type RamDirty = z.output<typeof ramDirty>;

/** How checking the rest of an image in the background ended. `unknown`: the connection closed before. */
export type RamVerification =
  | { readonly outcome: 'verified'; readonly pages: number }
  | { readonly outcome: 'corrupt'; readonly page: number }
  | { readonly outcome: 'stopped'; readonly pages: number }
  | { readonly outcome: 'unknown' };

export type ShimLine =
  | { readonly kind: 'ok'; readonly value: unknown }
  | { readonly kind: 'error'; readonly code: string; readonly message: string }
  | { readonly kind: 'event'; readonly verification: RamVerification };

export const protocolError = (reason: string): HoldfastError =>
  new HoldfastError('ram.unavailable', 'The RAM shim broke its protocol.', { reason });

/** Percent-encodes what would end a value or the line. Throws `ram.failed` on NUL. */
export function encodePath(path: string): string {
  if (path === '' || path.includes('\0')) throw new HoldfastError('ram.failed', 'The path is empty or has a NUL.');
  // Whatever is not printable ASCII or beyond ASCII, and the two characters with a meaning.
  return path.replace(/[^!-~\u0080-\u{10ffff}]|[%,]/gu, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** One command line with its line feed. Throws `ram.failed` when it is too long. */
export function commandLine(verb: string, values: Readonly<Record<string, string | number>> = {}): string {
  const line = `${[verb, ...Object.entries(values).map(([key, value]) => `${key}=${value}`)].join(' ')}\n`;
  if (Buffer.byteLength(line) > maxCommandBytes)
    throw new HoldfastError('ram.failed', 'The command to the RAM shim is too long.');
  return line;
}

/** Parses one line without its line feed. Throws `ram.unavailable` when it is none of the protocol's. */
export function parseShimLine(line: string): ShimLine {
  const space = line.indexOf(' ');
  const rest = line.slice(space + 1);
  switch (line.slice(0, Math.max(space, 0))) {
    case 'OK':
      return { kind: 'ok', value: parseJson(rest) };
    case 'ERR': {
      const match = /^([A-Za-z][A-Za-z0-9_]{0,31}) ([\x20-\x7e]{0,512})$/.exec(rest);
      if (match?.[1] === undefined || match[2] === undefined) throw protocolError('unreadable error');
      return { kind: 'error', code: match[1], message: match[2] };
    }
    case 'EVENT':
      return { kind: 'event', verification: parseEvent(parseJson(rest)) };
    default:
      throw protocolError('unknown answer');
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw protocolError('not JSON');
  }
}

function parseEvent(value: unknown): RamVerification {
  const parsed = shimEvent.safeParse(value);
  if (!parsed.success) throw protocolError('unknown event');
  const event = parsed.data;
  if ('verified' in event) return { outcome: 'verified', pages: event.verified };
  if ('corrupt' in event) return { outcome: 'corrupt', page: event.corrupt };
  return { outcome: 'stopped', pages: event.stopped };
}

/** The error of the catalogue for `ERR code message` in answer to `verb`. */
export function shimError(verb: string, code: string, message: string): HoldfastError {
  const details = { command: verb, reason: `${code} ${message}` };
  if (code === 'ENOSPC' || code === 'EDQUOT') return new HoldfastError('ram.no_space', undefined, details);
  const page = /^page=(\d{1,12})$/.exec(message)?.[1];
  if (code === 'corrupt' && page !== undefined)
    return new HoldfastError('ram.corrupt', undefined, { ...details, page: Number(page) });
  const unusable = code === 'index' || code === 'corrupt' || code === 'layer' || code === 'ENOENT';
  return new HoldfastError(verb === 'LOAD' && unusable ? 'ram.corrupt' : 'ram.failed', undefined, details);
}
