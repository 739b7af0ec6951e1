import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const record = z.object({ pid: z.number() });

/** Processes of the machines that have a sandbox; those of the warm pool have been lent nothing yet. */
export async function occupiedMachines(home: string): Promise<number[]> {
  const folder = join(home, 'sandboxes/run');
  const pids: number[] = [];
  for (const entry of await readdir(folder)) {
    if (!entry.endsWith('.json')) continue;
    const id = entry.slice(0, -'.json'.length);
    const lent = await readdir(join(folder, id)).catch(() => []);
    if (lent.length > 0) pids.push(record.parse(JSON.parse(await readFile(join(folder, entry), 'utf8'))).pid);
  }
  return pids;
}

/** Proportional set size of a machine's process in bytes, by what it consists of. */
export interface Footprint {
  readonly totalBytes: number;
  readonly guestRamBytes: number;
  readonly heapBytes: number;
  readonly anonymousBytes: number;
  readonly programBytes: number;
}

export async function footprint(pid: number): Promise<Footprint> {
  const sums = { guestRam: 0, heap: 0, anonymous: 0, program: 0 };
  let part: keyof typeof sums = 'anonymous';
  for (const line of (await readFile(`/proc/${pid}/smaps`, 'utf8')).split('\n')) {
    const mapping = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$/.exec(line);
    if (mapping !== null) part = partOf(mapping[1] ?? '');
    const pss = /^Pss:\s+(\d+) kB/.exec(line);
    if (pss !== null) sums[part] += Number(pss[1]) * 1024;
  }
  return {
    totalBytes: sums.guestRam + sums.heap + sums.anonymous + sums.program,
    guestRamBytes: sums.guestRam,
    heapBytes: sums.heap,
    anonymousBytes: sums.anonymous,
    programBytes: sums.program,
  };
}

function partOf(name: string): 'guestRam' | 'heap' | 'anonymous' | 'program' {
  if (/\/ram$|\/lent-|\.ram/.test(name)) return 'guestRam';
  if (name === '[heap]') return 'heap';
  return name.startsWith('/') ? 'program' : 'anonymous';
}
