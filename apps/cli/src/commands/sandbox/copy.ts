import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { printable } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { Sandbox } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { type Context, connect } from '../../context.ts';
import { formatBytes } from '../../output.ts';

interface Place {
  /** Null for this machine. */
  readonly sandbox: string | null;
  readonly path: string;
}

/** `work:/tmp/a` is in a sandbox; `./odd:name` and `/odd:name` are local, as scp has it. */
export const placeOf = (text: string): Place => {
  const at = text.indexOf(':');
  const before = text.slice(0, at);
  if (at < 1 || before.includes('/') || before.startsWith('.')) return { sandbox: null, path: text };
  const path = text.slice(at + 1);
  if (!path.startsWith('/')) {
    throw new HoldfastError('cli.usage', `The path in a sandbox must be absolute: ${before}:/…, not "${path}".`);
  }
  return { sandbox: before, path };
};

interface Copied {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly skipped: readonly { readonly path: string; readonly reason: string }[];
}

const localKind = async (path: string): Promise<'file' | 'directory' | null> => {
  const found = await stat(path).catch(() => null);
  if (found === null) return null;
  if (found.isDirectory()) return 'directory';
  if (found.isFile()) return 'file';
  throw new HoldfastError('local.path_invalid', `${path} is neither a file nor a directory.`, { path });
};

/** The kind of a path in the sandbox, null when there is none; links are followed by asking for what they lead to. */
const remoteKind = async (sandbox: Sandbox, path: string): Promise<'file' | 'directory' | null> => {
  try {
    const { kind } = await sandbox.stat(path);
    if (kind === 'symlink')
      return (await sandbox.stat(posix.join(path, '.'))).kind === 'directory' ? 'directory' : 'file';
    return kind === 'directory' ? 'directory' : 'file';
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'guest.not_a_directory') return 'file';
    if (error instanceof HoldfastError && error.code === 'guest.not_found') return null;
    throw error;
  }
};

const upload = async (sandbox: Sandbox, local: string, remote: string): Promise<Omit<Copied, 'from' | 'to'>> => {
  const kind = await localKind(local);
  if (kind === null) throw new HoldfastError('local.path_invalid', `There is no ${local}.`, { path: local });
  const into = remote.endsWith('/') || (await remoteKind(sandbox, remote)) === 'directory';
  if (kind === 'directory') {
    // Like cp: into a directory that exists under the own name, else the directory gets the new name.
    const target = into ? posix.join(remote, basename(await realName(local))) : remote;
    await sandbox.makeDirectory(target, { parents: true });
    return { bytes: (await sandbox.uploadDirectory(local, target)).size, skipped: [] };
  }
  const target = into ? posix.join(remote, basename(local)) : remote;
  const mode = ((await stat(local)).mode & 0o777).toString(8).padStart(3, '0');
  const { size } = await sandbox.writeFile(target, createReadStream(local), { mode, parents: true });
  return { bytes: size, skipped: [] };
};

/** `.` and `..` have no name of their own to be copied under. */
const realName = async (path: string): Promise<string> => {
  const { realpath } = await import('node:fs/promises');
  return realpath(path);
};

const download = async (sandbox: Sandbox, remote: string, local: string): Promise<Omit<Copied, 'from' | 'to'>> => {
  const kind = await remoteKind(sandbox, remote);
  if (kind === null)
    throw new HoldfastError('guest.not_found', `There is no ${remote} in the sandbox.`, { path: remote });
  const into = (await localKind(local)) === 'directory';
  const name = posix.basename(remote);
  const target = into && name !== '' ? join(local, name) : local;
  if (kind === 'directory') {
    const { bytes, skipped } = await sandbox.downloadDirectory(remote, target);
    return { bytes, skipped };
  }
  // Written aside and renamed, so that an interrupted copy never leaves half a file under the name.
  const partial = `${target}.${process.pid}.partial`;
  try {
    const file = createWriteStream(partial, { flags: 'wx' });
    await pipeline(Readable.from(await sandbox.openFile(remote), { objectMode: false }), file);
    await rename(partial, target);
    return { bytes: file.bytesWritten, skipped: [] };
  } catch (cause) {
    await rm(partial, { force: true });
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('local.path_invalid', `Cannot write ${target}.`, { path: target }, { cause });
  }
};

const transfer = async (context: Context, from: Place, to: Place): Promise<Omit<Copied, 'from' | 'to'>> => {
  const name = from.sandbox ?? to.sandbox;
  if (name === null || (from.sandbox !== null && to.sandbox !== null)) {
    throw new HoldfastError('cli.usage', 'One of the two paths must be in a sandbox (SANDBOX:/PATH), the other here.');
  }
  const sandbox = new Sandbox(await connect(context), name);
  return from.sandbox === null ? upload(sandbox, from.path, to.path) : download(sandbox, from.path, to.path);
};

export const copy: Run<object> = async (context, [from = '', to = '']) => {
  const { output } = context;
  const done = await output.during(`Copying ${from}`, () => transfer(context, placeOf(from), placeOf(to)));
  for (const { path, reason } of done.skipped) output.note(`skipped ${printable(path)}: ${printable(reason)}`);
  output.result({ from, to, ...done }, ({ bytes }) => `${from} -> ${to}: ${formatBytes(bytes)}`);
};
