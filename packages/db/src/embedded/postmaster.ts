import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@holdfast/core';
import { type Layout, readText } from './layout.ts';

export interface Postmaster {
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

const sameFolder = async (a: string, b: string): Promise<boolean> => {
  try {
    const [one, two] = await Promise.all([stat(a), stat(b)]);
    return one.dev === two.dev && one.ino === two.ino;
  } catch {
    return false;
  }
};

/**
 * True when that process works on this cluster. Every PostgreSQL process has the data folder as its working directory,
 * which the kernel tells by inode, so a process id that was reused, or another cluster's, is never taken for ours.
 */
export const worksOn = (pid: number, data: string): Promise<boolean> => sameFolder(`/proc/${pid}/cwd`, data);

/** What postmaster.pid says, whether or not that process lives; null when there is no such file. */
export const readPostmasterFile = async (layout: Layout): Promise<Postmaster | null> => {
  const text = await readText(join(layout.data, 'postmaster.pid'));
  if (text === null) return null;
  const lines = text.split('\n');
  const pid = Number.parseInt(lines[0] ?? '', 10);
  const port = Number.parseInt(lines[3] ?? '', 10);
  return {
    pid: Number.isSafeInteger(pid) && pid > 0 ? pid : 0,
    port: Number.isSafeInteger(port) ? port : 0,
    ready: (lines[7] ?? '').trim() === 'ready',
  };
};

/** The postmaster that runs on this cluster now, or null. */
export const findPostmaster = async (layout: Layout): Promise<Postmaster | null> => {
  const told = await readPostmasterFile(layout);
  if (told === null || told.pid === 0 || !(await worksOn(told.pid, layout.data))) return null;
  return told;
};

/** Ids of all processes of this cluster, also those that a killed postmaster left. */
export const findProcesses = async (layout: Layout): Promise<number[]> => {
  const names = (await readdir('/proc')).filter((name) => /^[0-9]+$/.test(name));
  const found: number[] = [];
  for (const name of names) if (await worksOn(Number(name), layout.data)) found.push(Number(name));
  return found;
};

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch {
    // It has gone already, which is what is wanted.
  }
};

const waitGone = async (pid: number, layout: Layout, clock: Clock, waitMs: number): Promise<boolean> => {
  const deadline = clock.monotonic() + waitMs;
  while (await worksOn(pid, layout.data)) {
    if (clock.monotonic() > deadline) return false;
    await clock.sleep(20);
  }
  return true;
};

/** Fast shutdown: clients are disconnected, everything is written. The immediate one follows if it takes over 20 s. */
export const stopPostmaster = async (layout: Layout, clock: Clock): Promise<void> => {
  const postmaster = await findPostmaster(layout);
  if (postmaster === null) return;
  signal(postmaster.pid, 'SIGINT');
  if (await waitGone(postmaster.pid, layout, clock, 20_000)) return;
  signal(postmaster.pid, 'SIGQUIT');
  await waitGone(postmaster.pid, layout, clock, 5_000);
};
