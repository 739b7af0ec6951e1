import { constants } from 'node:fs';
import { access, mkdir, symlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import type { Binaries } from './binaries.ts';
import { type Layout, writeAccounts } from './layout.ts';

/** How to run PostgreSQL's programs here: as the caller, or, as it refuses to be root, as another user in a jail. */
export interface Runner {
  /** Program and arguments for one of PostgreSQL's programs. */
  command(program: 'initdb' | 'postgres', args: readonly string[]): { file: string; args: string[] };
  readonly env: Readonly<Record<string, string>>;
  /** Path of the cluster folder as PostgreSQL sees it. */
  readonly cluster: string;
  /** User PostgreSQL runs as, when that is not the caller. */
  readonly uid: number | null;
}

const directRunner = async (binaries: Binaries, layout: Layout): Promise<Runner> => {
  const lib = join(layout.support, 'lib');
  await mkdir(lib, { recursive: true });
  for (const link of binaries.links) {
    try {
      await symlink(join(binaries.native, 'lib', link.file), join(lib, link.name));
    } catch (error) {
      // A link that is already there may point to an older installation, but then its name resolves in native/lib.
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
  }
  return {
    command: (program, args) => ({ file: join(binaries.native, 'bin', program), args: [...args] }),
    env: { LD_LIBRARY_PATH: [join(binaries.native, 'lib'), lib].join(delimiter), TZ: 'UTC', LC_ALL: 'C' },
    cluster: layout.cluster,
    uid: null,
  };
};

const findProgram = async (name: string): Promise<string> => {
  for (const folder of ['/usr/bin', '/bin', '/usr/local/bin', '/usr/sbin', '/sbin']) {
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Look in the next folder.
    }
  }
  throw new HoldfastError(
    'database.start_failed',
    `PostgreSQL must not run as root, and ${name} is not there to run it as another user. Install it (Debian: apt-get install bubblewrap util-linux), or set DATABASE_URL.`,
    { program: name },
  );
};

/**
 * The jail is a private mount namespace, so neither the data folder nor the installation needs to be reachable for the
 * unprivileged user on the host: both may lie below a root-only home. PID and IPC namespaces stay shared on purpose:
 * postmaster.pid must hold a real process id, and the shared memory that guards a cluster against a second postmaster
 * must be seen by the next one.
 */
const jailRunner = async (binaries: Binaries, layout: Layout, uid: number): Promise<Runner> => {
  const [bwrap, setpriv] = [await findProgram('bwrap'), await findProgram('setpriv')];
  const { passwd, group } = await writeAccounts(layout, uid);
  const jail = ['--ro-bind', '/usr', '/usr'];
  for (const folder of ['/lib', '/lib64', '/bin', '/sbin']) jail.push('--ro-bind-try', folder, folder);
  jail.push('--perms', '0755', '--dir', '/etc', '--ro-bind', passwd, '/etc/passwd', '--ro-bind', group, '/etc/group');
  jail.push('--dev', '/dev', '--perms', '1777', '--tmpfs', '/dev/shm', '--perms', '1777', '--tmpfs', '/tmp');
  jail.push('--perms', '0755', '--dir', '/holdfast', '--ro-bind', binaries.native, '/holdfast/native');
  jail.push('--perms', '0755', '--dir', '/holdfast/lib');
  for (const link of binaries.links) jail.push('--symlink', `../native/lib/${link.file}`, `/holdfast/lib/${link.name}`);
  jail.push('--bind', layout.cluster, '/holdfast/cluster', '--chdir', '/holdfast/cluster', '--');
  const id = String(uid);
  const become = [setpriv, '--reuid', id, '--regid', id, '--clear-groups', '--no-new-privs'];
  become.push('--inh-caps=-all', '--bounding-set=-all');
  return {
    command: (program, args) => ({
      file: bwrap,
      args: [...jail, ...become, `/holdfast/native/bin/${program}`, ...args],
    }),
    env: { LD_LIBRARY_PATH: '/holdfast/native/lib:/holdfast/lib', TZ: 'UTC', LC_ALL: 'C', PATH: '/usr/bin:/bin' },
    cluster: '/holdfast/cluster',
    uid,
  };
};

export const runnerFor = (binaries: Binaries, layout: Layout, uid: number | null): Promise<Runner> =>
  uid === null ? directRunner(binaries, layout) : jailRunner(binaries, layout, uid);
