import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { killProcess } from '../host/jailed-process.ts';
import { processStartTime } from '../host/machine-folder.ts';
import type { Sandboxes } from '../sandboxes.ts';
import type { SandboxPatch } from '../store/sandbox-table.ts';
import { adopt } from './adoption.ts';
import type { Host, Running, SandboxRow } from './host.ts';
import { referencesOf } from './standby.ts';

/** What was found: machines taken over, files removed, and the templates that sandboxes are made of. */
export interface Recovered {
  readonly adopted: number;
  readonly swept: number;
  readonly frozenKeys: ReadonlySet<string>;
}

/**
 * Brings everything into a consistent state after the server before ended in whatever way: machines that run are
 * adopted, sandboxes whose machine is gone are in standby or boot from their disk, deletions are finished, and what belongs
 * to no sandbox (processes, folders, files) is removed.
 */
export async function recover(host: Host, sandboxes: Sandboxes, marker: string): Promise<Recovered> {
  const rows = await host.table.onHost(host.id);
  for (const row of rows) host.files.hold(referencesOf(row));
  const adopted = new Map<string, { running: Running; row: SandboxRow }>();
  const unborn = new Set<string>();
  await Promise.all(
    rows.map(async (row) => {
      if (row.state !== 'running' || row.machine_id === null) return;
      const adoption = await adopt(host, row, row.machine_id);
      if (adoption.kind === 'running') adopted.set(row.machine_id, { running: adoption.running, row });
      if (adoption.kind === 'unborn') unborn.add(row.id);
    }),
  );
  await endStrayMachines(host, marker, new Set(adopted.keys()));
  await removeStrayFolders(host, new Set(adopted.keys()));
  for (const row of rows) {
    const living = row.machine_id === null ? undefined : adopted.get(row.machine_id);
    if (living !== undefined) sandboxes.add(row).moveIn(living.running, row);
    else await settle(host, sandboxes, row, unborn.has(row.id));
  }
  const frozenKeys = new Set(rows.map((row) => row.frozen_key));
  return { adopted: adopted.size, swept: await host.files.sweep(), frozenKeys };
}

/** The programs that a machine consists of while it starts and runs; see `jailCommand`. */
const machinePrograms = /^(prlimit|bwrap|setpriv|env|qemu-system-[a-z0-9_]+)$/;

/** Every process of a machine of this data folder carries its marker in QEMU's name argument, also before QEMU is there. */
async function endStrayMachines(host: Host, marker: string, keep: ReadonlySet<string>): Promise<void> {
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const name = words.find((word) => word.startsWith(`${marker}-`));
    if (name === undefined || !machinePrograms.test(basename(words[0] ?? ''))) continue;
    if (keep.has(name.slice(marker.length + 1))) continue;
    host.log.info('ending a machine that belongs to no sandbox', { pid });
    killProcess(pid);
    while ((await processStartTime(pid)) !== null) await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function removeStrayFolders(host: Host, keep: ReadonlySet<string>): Promise<void> {
  for (const folder of [host.machines.folder, host.machines.runtime]) {
    for (const entry of await readdir(folder)) {
      const id = entry.endsWith('.json') ? entry.slice(0, -'.json'.length) : entry;
      if (!keep.has(id)) await rm(join(folder, entry), { recursive: true, force: true });
    }
  }
}

async function settle(host: Host, sandboxes: Sandboxes, row: SandboxRow, unborn: boolean): Promise<void> {
  if (row.state === 'deleting') {
    await host.files.release(referencesOf(row));
    await host.table.delete(row);
    return;
  }
  if (row.state !== 'running' && row.state !== 'creating') {
    sandboxes.add(row);
    return;
  }
  if (unborn && row.snapshot_id !== null) {
    // The guest never ran: its standby is as good as before.
    const patch = { state: 'standby', machine_id: null, identity_pending: true } as const satisfies SandboxPatch;
    await host.table.update(row, patch, { type: 'resume_failed' });
    sandboxes.add({ ...row, ...patch });
    return;
  }
  const notice = 'It lost its processes: its machine ended while no server ran.';
  const patch = { state: 'stopped', machine_id: null, notice } as const satisfies SandboxPatch;
  await host.table.update(row, patch, { type: 'machine_lost', data: { why: notice } });
  sandboxes.add({ ...row, ...patch });
}
