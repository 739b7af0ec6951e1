import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { base32, Secret } from '@holdfast/core';

/** Where an embedded cluster keeps its files. Only `cluster` belongs to PostgreSQL's user. */
export interface Layout {
  readonly folder: string;
  /** Bound into the jail; holds `data`, and while it is being made `init-…`. */
  readonly cluster: string;
  readonly data: string;
  readonly log: string;
  readonly passwordFile: string;
  readonly portFile: string;
  /** Links to libraries when PostgreSQL runs outside of a jail; passwd and group for inside of it. */
  readonly support: string;
}

export const layoutOf = (folder: string): Layout => ({
  folder,
  cluster: join(folder, 'cluster'),
  data: join(folder, 'cluster', 'data'),
  log: join(folder, 'postgres.log'),
  passwordFile: join(folder, 'password'),
  portFile: join(folder, 'port'),
  support: join(folder, 'support'),
});

/** `uid` is null when PostgreSQL runs as the caller. */
export const makeFolders = async (layout: Layout, uid: number | null): Promise<void> => {
  await mkdir(layout.folder, { recursive: true, mode: 0o700 });
  await mkdir(layout.support, { recursive: true, mode: 0o755 });
  await mkdir(layout.cluster, { recursive: true, mode: 0o700 });
  await chmod(layout.cluster, 0o700);
  if (uid !== null) await chown(layout.cluster, uid, uid);
};

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** Text of a small file, or null when there is none. */
export const readText = async (path: string): Promise<string | null> => {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
};

/** The password of the cluster's only role; made on first use, before the cluster that takes it. */
export const readPassword = async (layout: Layout): Promise<Secret> => {
  const kept = (await readText(layout.passwordFile))?.trim();
  if (kept !== undefined && kept !== '') return new Secret(kept);
  const made = base32(randomBytes(32));
  const file = await open(layout.passwordFile, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(`${made}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return new Secret(made);
};

/** Names for the jail's user, because PostgreSQL insists on a name for its uid. */
export const writeAccounts = async (layout: Layout, uid: number): Promise<{ passwd: string; group: string }> => {
  const passwd = join(layout.support, 'passwd');
  const group = join(layout.support, 'group');
  await writeFile(passwd, `holdfast:x:${uid}:${uid}::/:/bin/false\n`, { mode: 0o644 });
  await writeFile(group, `holdfast:x:${uid}:\n`, { mode: 0o644 });
  await chmod(passwd, 0o644);
  await chmod(group, 0o644);
  return { passwd, group };
};
