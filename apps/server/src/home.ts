import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { type ProcessLock, tryLock } from '@holdfast/db';

const probeBytes = 65_536;

const reasons: Readonly<Record<string, string>> = {
  EROFS: 'it is on a read-only file system',
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'a part of its path is not a directory',
  EEXIST: 'it is not a directory',
  ENAMETOOLONG: 'its path is too long',
  EIO: 'the disk reports an error',
};

const unusable = (home: string, reason: string, cause?: unknown): HoldfastError =>
  new HoldfastError('home.unusable', `${home} cannot be used: ${reason}.`, { home, reason }, { cause });

const explain = (home: string, cause: unknown): HoldfastError => {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return unusable(home, reasons[code] ?? String(cause), cause);
};

/** Proves that what we will promise can be kept: bytes written here reach the disk. */
const probe = async (home: string): Promise<void> => {
  const path = join(home, `.probe-${randomBytes(6).toString('hex')}`);
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(Buffer.alloc(probeBytes, 1));
    await file.sync();
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
};

/** What a server leaves that was killed in the middle of `probe` or `writePrivateFile`. */
const temporary = /^\.probe-[0-9a-f]{12}$|^(server\.json|credentials|master\.key)\.[0-9a-f]{12}$/;

const sweep = async (home: string): Promise<void> => {
  for (const name of await readdir(home)) if (temporary.test(name)) await rm(join(home, name), { force: true });
};

const checkFolder = async (home: string): Promise<void> => {
  await mkdir(home, { recursive: true, mode: 0o700 });
  const found = await stat(home);
  if (!found.isDirectory()) throw unusable(home, 'it is not a directory');
  const user = process.getuid?.();
  if (user !== undefined && found.uid !== user)
    throw unusable(home, `it belongs to user ${found.uid}, and the server runs as user ${user}`);
  await probe(home);
};

/**
 * Makes and checks the data folder and takes its lock, which vanishes with the process.
 * Errors: `home.unusable` with a reason, `home.in_use`.
 */
export const openHome = async (home: string): Promise<ProcessLock> => {
  try {
    await checkFolder(home);
  } catch (error) {
    throw error instanceof HoldfastError ? error : explain(home, error);
  }
  const lock = await tryLock(home, 'server');
  if (lock === null) throw new HoldfastError('home.in_use', `Another server uses ${home}.`, { home });
  await sweep(home);
  return lock;
};

/** Replaces a small file of the data folder in one step, readable for its owner only. */
export const writePrivateFile = async (path: string, text: string): Promise<void> => {
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
};
