import { mkdir, stat } from 'node:fs/promises';
import { isAbsolute, normalize, posix, relative, sep } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '@holdfast/core';
import { packTar, unpackTar } from 'modern-tar/fs';

/** Bounds of one download; an archive beyond them ends with `local.archive_too_large`. */
const maxEntries = 1_000_000;
const maxBytes = 68_719_476_736;

export interface PackOptions {
  /** Gets the path relative to the directory, with `/`; false leaves out the file, or the directory with all in it. */
  readonly filter?: (path: string) => boolean;
}

/** The directory's content as a tar stream, without itself; owners are not sent, symbolic links stay links. */
export async function* packDirectory(directory: string, options: PackOptions = {}): AsyncGenerator<Uint8Array> {
  const attributes = await stat(directory).catch((cause: unknown) => {
    throw new HoldfastError('local.path_invalid', `Cannot read ${directory}.`, { path: directory }, { cause });
  });
  if (!attributes.isDirectory()) {
    throw new HoldfastError('local.path_invalid', `${directory} is not a directory.`, { path: directory });
  }
  const { filter } = options;
  const source = packTar(directory, {
    map: ({ uname: _user, gname: _group, ...header }) => ({ ...header, uid: 0, gid: 0 }),
    ...(filter === undefined ? {} : { filter: (path) => filter(relative(directory, path).split(sep).join(posix.sep)) }),
  });
  for await (const chunk of source) if (chunk instanceof Uint8Array) yield chunk;
}

export interface UnpackResult {
  readonly entries: number;
  /** Bytes of all files. */
  readonly bytes: number;
  /** What was left out because it could reach outside the directory or is no file, directory or link. */
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

const escapes = (path: string): boolean => isAbsolute(path) || normalize(path).split(sep)[0] === '..';

/**
 * Unpacks a tar stream from a sandbox, whose content is not trusted: nothing is written outside `directory`, no device,
 * set-user-id bit or owner is taken over, and links that point outside are skipped and reported.
 */
export const unpackDirectory = async (body: AsyncIterable<Uint8Array>, directory: string): Promise<UnpackResult> => {
  await mkdir(directory, { recursive: true }).catch((cause: unknown) => {
    throw new HoldfastError('local.path_invalid', `Cannot write to ${directory}.`, { path: directory }, { cause });
  });
  const skipped: { path: string; reason: string }[] = [];
  let entries = 0;
  let bytes = 0;
  const target = unpackTar(directory, {
    strict: true,
    filter: ({ name, type, linkname, size }) => {
      entries += 1;
      bytes += size;
      if (entries > maxEntries || bytes > maxBytes) {
        throw new HoldfastError('local.archive_too_large', undefined, { maxEntries, maxBytes });
      }
      const link = type === 'symlink' ? posix.join(posix.dirname(name), linkname ?? '') : (linkname ?? '');
      if (escapes(name)) skipped.push({ path: name, reason: 'its path leaves the directory' });
      else if (type === 'symlink' && (escapes(link) || isAbsolute(linkname ?? ''))) {
        skipped.push({ path: name, reason: `it links to ${linkname}, outside the directory` });
      } else if (type === 'link' && escapes(link)) {
        skipped.push({ path: name, reason: `it is a hard link to ${linkname}, outside the directory` });
      } else if (type !== undefined && !['file', 'directory', 'symlink', 'link'].includes(type)) {
        skipped.push({ path: name, reason: `it is a ${type}` });
      } else return true;
      return false;
    },
    map: (header) => (header.mode === undefined ? header : { ...header, mode: header.mode & 0o777 }),
  });
  await pipeline(Readable.from(body, { objectMode: false }), target);
  return { entries: entries - skipped.length, bytes, skipped };
};
