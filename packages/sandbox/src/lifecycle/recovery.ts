import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { Machine } from '../host/machine.ts';
import { type MachineRecord, processStartTime, readMachineRecord } from '../host/machine-folder.ts';
import type { Sandboxes } from '../sandboxes.ts';
import type { SandboxPatch } from '../store/sandbox-table.ts';
import type { Host, Running, SandboxRow } from './host.ts';
import { referencesOf } from './standby.ts';
import { greet } from './start.ts';

const adoptTimeoutMs = 10_000;
const runState = z.object({ status: z.string() });

/** For each device of the guest the node that it writes to and, as its `parent`, the node below that. */
const blockNodes = z.array(
  z.object({ 'node-name': z.string().optional(), parent: z.object({ 'node-name': z.string().optional() }).optional() }),
);

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
  for (const row of rows) {
    if (row.state !== 'running' || row.machine_id === null) continue;
    const running = await adopt(host, row, row.machine_id);
    if (running !== null) adopted.set(row.machine_id, { running, row });
  }
  await endStrayMachines(host, marker, new Set([...adopted.values()].map((each) => each.running.machine.pid)));
  await removeStrayFolders(host, new Set(adopted.keys()));
  for (const row of rows) {
    const living = row.machine_id === null ? undefined : adopted.get(row.machine_id);
    if (living !== undefined) sandboxes.add(row).moveIn(living.running, row);
    else await settle(host, sandboxes, row);
  }
  const frozenKeys = new Set(rows.map((row) => row.frozen_key));
  return { adopted: adopted.size, swept: await host.files.sweep(), frozenKeys };
}

async function adopt(host: Host, row: SandboxRow, machineId: string): Promise<Running | null> {
  const place = { folder: join(host.machines.folder, machineId), runtime: join(host.machines.runtime, machineId) };
  const record = await readMachineRecord(place.folder);
  if (record === null || !(await isAlive(record))) return null;
  let machine: Machine;
  try {
    machine = await Machine.adopt(machineId, place, record);
  } catch {
    return null; // not ready to be spoken to: it is ended with the strays
  }
  try {
    const template = await host.templates.byKey(row.frozen_key);
    const { status } = runState.parse(await machine.qmp.execute('query-status'));
    const diskTop = await topOfDisk(machine, host, row);
    if (diskTop === null || status === 'inmigrate') throw new Error(`the machine is ${status} and not complete`);
    host.pool.reserveUid(record.uid);
    const guest = greet(host, machine, row, { timeoutMs: adoptTimeoutMs, identify: true, takeover: true });
    if (status !== 'running') await machine.run();
    await guest.ready;
    return { machine, guest, template, diskTop, since: host.clock.monotonic(), verification: null };
  } catch (error) {
    const words = await machine.console().catch(() => '');
    host.log.warn('a running machine could not be adopted', {
      sandbox: row.id,
      error: String(error),
      console: words.slice(-1_000),
    });
    await machine.destroy();
    return null;
  }
}

/** The block node that the guest writes to, or null unless it is the disk that the record names (a fork may have been cut short). */
async function topOfDisk(machine: Machine, host: Host, row: SandboxRow): Promise<string | null> {
  const nodes = blockNodes.parse(await machine.qmp.execute('query-blockstats'));
  const name = nodes.find((node) => node['node-name'] === 'disk')?.parent?.['node-name'];
  const number = name === undefined ? undefined : /^disk-top(?:-(\d+))?$/.exec(name);
  const [top] = row.disk_chain;
  if (name === undefined || number === undefined || number === null || top === undefined) return null;
  return (await machine.folder.isLent(`lent-${number[1] ?? 0}`, host.files.disk(top))) ? name : null;
}

const isAlive = async (record: MachineRecord): Promise<boolean> =>
  (await processStartTime(record.pid)) === record.startTime;

/** Every QEMU process of this data folder carries its marker in its name argument. */
async function endStrayMachines(host: Host, marker: string, keep: ReadonlySet<number>): Promise<void> {
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || keep.has(pid)) continue;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const words = commandLine.split('\0');
    if (!words[0]?.includes('qemu-system') || !words.some((word) => word.startsWith(`${marker}-`))) continue;
    host.log.info('ending a machine that belongs to no sandbox', { pid });
    process.kill(pid, 'SIGKILL');
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

async function settle(host: Host, sandboxes: Sandboxes, row: SandboxRow): Promise<void> {
  if (row.state === 'deleting') {
    await host.files.release(referencesOf(row));
    await host.table.delete(row);
    return;
  }
  if (row.state !== 'running' && row.state !== 'creating') {
    sandboxes.add(row);
    return;
  }
  const notice = 'It lost its processes: its machine ended while no server ran.';
  const patch = { state: 'stopped', machine_id: null, notice } as const satisfies SandboxPatch;
  await host.table.update(row, patch, { type: 'machine_lost', data: { why: notice } });
  sandboxes.add({ ...row, ...patch });
}
