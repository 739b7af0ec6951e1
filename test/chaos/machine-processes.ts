import { createHash } from 'node:crypto';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** A process of one data folder: QEMU, or the jail around it. */
export interface MachineProcess {
  readonly pid: number;
  readonly kind: 'qemu' | 'jail';
  readonly machineId: string;
  /** Clock ticks since the host booted. */
  readonly startedAt: number;
}

const programs = new Map<string, MachineProcess['kind']>([
  ['prlimit', 'jail'],
  ['bwrap', 'jail'],
  ['setpriv', 'jail'],
  ['env', 'jail'],
  ['qemu-system-x86_64', 'qemu'],
  ['qemu-system-aarch64', 'qemu'],
]);

/** The mark that all machines of this data folder carry in their name argument. */
export async function markerOf(home: string): Promise<string> {
  const folder = await realpath(join(home, 'sandboxes'));
  return `holdfast-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}`;
}

/** All processes of machines of this data folder; zombies do not count. */
export async function machineProcesses(marker: string): Promise<MachineProcess[]> {
  const found: MachineProcess[] = [];
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const kind = programs.get(basename(words[0] ?? ''));
    const name = words.find((word) => word.startsWith(`${marker}-`));
    if (kind === undefined || name === undefined) continue;
    const startedAt = await startOf(pid);
    if (startedAt !== null) found.push({ pid, kind, machineId: name.slice(marker.length + 1), startedAt });
  }
  return found;
}

/** When a living process started, or null. */
export async function startOf(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return text === '' || fields[0] === 'Z' ? null : Number(fields[19]);
}

/** The postmaster that works on this data folder, or null. */
export async function postmasterOf(home: string): Promise<number | null> {
  const data = join(home, 'postgres/cluster/data');
  const pid = Number((await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return null;
  const [own, theirs] = await Promise.all([stat(data), stat(`/proc/${pid}/cwd`)]).catch(() => [null, null]);
  return own !== null && theirs !== null && own.dev === theirs.dev && own.ino === theirs.ino ? pid : null;
}

/** Ends one process at once. False when it was gone. */
export function killNow(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}
