import { checkPath, request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { bytesOf } from './inbound-queue.ts';
import { guestLimits } from './limits.ts';
import { shapes } from './stream.ts';
import { Channel, Op, Tag } from './tags.ts';
import type { Fields } from './tlv.ts';
import { type UploadBody, upload } from './upload.ts';
import { ProtocolViolation } from './violation.ts';

const kinds = {
  1: 'file',
  2: 'directory',
  3: 'symlink',
  4: 'fifo',
  5: 'socket',
  6: 'char',
  7: 'block',
} as const satisfies Record<number, string>;

export type GuestFileKind = (typeof kinds)[keyof typeof kinds];

export interface GuestStat {
  readonly kind: GuestFileKind;
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whole milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Of a symlink. */
  readonly target: string | null;
}

export interface GuestEntry extends GuestStat {
  readonly name: string;
}

/** Entries sorted by name bytewise; `cursor` leads to the next page. */
export interface GuestListing {
  readonly items: readonly GuestEntry[];
  readonly cursor: string | null;
}

export interface GuestReadOptions {
  readonly offset?: number;
  readonly length?: number;
}

/** The body must be read to its end, or left early, which cancels. */
export interface GuestFile {
  readonly stat: GuestStat;
  readonly body: AsyncIterable<Uint8Array>;
}

export interface GuestWriteOptions {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Create missing parent directories. */
  readonly parents?: boolean;
  /** fsync before the answer. */
  readonly sync?: boolean;
}

export async function readFile(
  connection: GuestConnection,
  path: string,
  options: GuestReadOptions,
): Promise<GuestFile> {
  const fields = request(Op.read)
    .text(Tag.path, checkPath(path))
    .number(Tag.offset, options.offset)
    .number(Tag.length, options.length);
  const opened = Promise.withResolvers<GuestFile>();
  let begun = false;
  const stream = connection.open(fields, shapes.download, {
    event(event) {
      if (begun) throw new ProtocolViolation('a file was opened twice');
      begun = true;
      opened.resolve({ stat: parseStat(event), body: bytesOf(stream.queue(Channel.main)) });
    },
    result(answer) {
      if (!begun) throw new ProtocolViolation('a file ended before it was opened');
      const complete = answer.requireNumber(Tag.size) === stream.receivedBytes;
      if (!complete) throw new ProtocolViolation('a file has another size than was sent');
    },
    failed: opened.reject,
  });
  return opened.promise;
}

export async function writeFile(
  connection: GuestConnection,
  path: string,
  body: UploadBody,
  options: GuestWriteOptions,
): Promise<{ size: number }> {
  const fields = request(Op.write)
    .text(Tag.path, checkPath(path))
    .number(Tag.mode, options.mode)
    .number(Tag.uid, options.uid)
    .number(Tag.gid, options.gid)
    .flag(Tag.parents, options.parents)
    .flag(Tag.sync, options.sync);
  return upload(connection, fields, body);
}

export const statFile = async (connection: GuestConnection, path: string): Promise<GuestStat> =>
  connection.request(request(Op.stat).text(Tag.path, checkPath(path)), parseStat);

export async function listFiles(
  connection: GuestConnection,
  path: string,
  options: { readonly limit?: number; readonly cursor?: string },
): Promise<GuestListing> {
  const fields = request(Op.list)
    .text(Tag.path, checkPath(path))
    .number(Tag.limit, options.limit)
    .text(Tag.cursor, options.cursor);
  return connection.request(fields, (answer) => ({
    items: answer.records(guestLimits.maxListRecords).map(parseEntry),
    cursor: answer.text(Tag.cursor, guestLimits.maxPathBytes),
  }));
}

export async function makeDirectory(
  connection: GuestConnection,
  path: string,
  options: { readonly mode?: number; readonly parents?: boolean },
): Promise<void> {
  const fields = request(Op.mkdir)
    .text(Tag.path, checkPath(path))
    .number(Tag.mode, options.mode)
    .flag(Tag.parents, options.parents);
  return connection.request(fields, nothing);
}

export async function moveFile(
  connection: GuestConnection,
  from: string,
  to: string,
  options: { readonly overwrite?: boolean },
): Promise<void> {
  const fields = request(Op.move)
    .text(Tag.path, checkPath(from))
    .text(Tag.to, checkPath(to))
    .flag(Tag.overwrite, options.overwrite);
  return connection.request(fields, nothing);
}

export async function removeFile(
  connection: GuestConnection,
  path: string,
  options: { readonly recursive?: boolean },
): Promise<void> {
  const fields = request(Op.remove).text(Tag.path, checkPath(path)).flag(Tag.recursive, options.recursive);
  return connection.request(fields, nothing);
}

const nothing = (): void => undefined;

function parseStat(fields: Fields): GuestStat {
  return {
    kind: parseKind(fields.requireNumber(Tag.kind)),
    size: fields.requireNumber(Tag.size),
    mode: fields.requireNumber(Tag.mode, 0o7777),
    uid: fields.requireNumber(Tag.uid, 0xffff_ffff),
    gid: fields.requireNumber(Tag.gid, 0xffff_ffff),
    mtimeMs: Number((fields.i64(Tag.mtimeNs) ?? 0n) / 1_000_000n),
    target: fields.text(Tag.target, guestLimits.maxPathBytes),
  };
}

const isKind = (kind: number): kind is keyof typeof kinds => Object.hasOwn(kinds, kind);

function parseKind(kind: number): GuestFileKind {
  if (!isKind(kind)) throw new ProtocolViolation('a file has an unknown kind');
  return kinds[kind];
}

/** A name is what `readdir` can give: no slash, not empty, not `.` or `..`. */
function parseEntry(record: Fields): GuestEntry {
  const name = record.requireText(Tag.name, 255);
  if (name === '' || name === '.' || name === '..' || name.includes('/')) {
    throw new ProtocolViolation('a directory entry has an impossible name');
  }
  return { name, ...parseStat(record) };
}
