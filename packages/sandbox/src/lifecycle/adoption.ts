import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { Machine, topNode } from '../host/machine.ts';
import { type MachineRecord, processStartTime, readMachineRecord } from '../host/machine-folder.ts';
import type { FrozenTemplate } from '../template/store.ts';
import type { Host, Running, SandboxRow } from './host.ts';
import { greet } from './start.ts';

/**
 * How long the guest may take to answer at each attempt. One that was about to stand by learns late that its port was closed
 * and opened again, and drops the greeting that came in between; on the next connection it answers at once.
 */
const adoptTimeoutsMs = [2_000, 5_000, 15_000];

const runState = z.object({ status: z.string() });

/** For each device of the guest the node that it writes to and, as its `parent`, the node below that. */
const blockNodes = z.array(
  z.object({ 'node-name': z.string().optional(), parent: z.object({ 'node-name': z.string().optional() }).optional() }),
);

/** What the machine that a row names came to: it runs on, its guest was not started yet, or there is nothing to go on with. */
export type Adoption = { readonly kind: 'running'; readonly running: Running } | { readonly kind: 'unborn' | 'gone' };

/** Takes over the machine of a sandbox that ran when the server before ended. What is not taken over is ended. Never throws. */
export async function adopt(host: Host, row: SandboxRow, machineId: string): Promise<Adoption> {
  const place = { folder: join(host.machines.folder, machineId), runtime: join(host.machines.runtime, machineId) };
  const record = await readMachineRecord(place.folder);
  if (record === null || !(await isAlive(record))) return { kind: 'gone' };
  const template = await host.templates.byKey(row.frozen_key).catch(() => null);
  if (template === null) return { kind: 'gone' };
  for (const timeoutMs of adoptTimeoutsMs) {
    // One that can't be spoken to is ended with the strays.
    const machine = await Machine.adopt(machineId, place, record).catch(() => null);
    if (machine === null) return { kind: 'gone' };
    try {
      const adoption = await enter(host, row, machine, template, timeoutMs);
      if (adoption.kind === 'running') host.pool.reserveUid(record.uid);
      return adoption;
    } catch (error) {
      const isSilent = error instanceof HoldfastError && error.code === 'guest.timeout';
      if (isSilent && timeoutMs !== adoptTimeoutsMs.at(-1)) await leave(machine);
      else await giveUp(host, row, machine, error);
    }
  }
  return { kind: 'gone' };
}

async function enter(
  host: Host,
  row: SandboxRow,
  machine: Machine,
  template: FrozenTemplate,
  timeoutMs: number,
): Promise<Adoption> {
  const { status } = runState.parse(await machine.qmp.execute('query-status'));
  if (status === 'inmigrate') {
    await machine.destroy();
    return { kind: 'unborn' };
  }
  const diskTop = await topOfDisk(machine, host, row);
  if (diskTop === null) throw new Error('the machine has another disk than its record names');
  const guest = greet(host, machine, row, { timeoutMs, identify: true, takeover: true });
  if (status !== 'running') await machine.run();
  await guest.ready;
  const running = { machine, guest, template, diskTop, since: host.clock.monotonic(), verification: null };
  return { kind: 'running', running };
}

async function leave(machine: Machine): Promise<void> {
  machine.detach();
  await machine.folder.close();
}

async function giveUp(host: Host, row: SandboxRow, machine: Machine, error: unknown): Promise<void> {
  const words = await machine.console().catch(() => '');
  host.log.warn('a running machine could not be adopted', {
    sandbox: row.id,
    error: String(error),
    console: words.slice(-1_000),
  });
  await machine.destroy();
}

/** The block node that the guest writes to, or null unless it is the disk that the record names (a fork may have been cut short). */
async function topOfDisk(machine: Machine, host: Host, row: SandboxRow): Promise<string | null> {
  const nodes = blockNodes.parse(await machine.qmp.execute('query-blockstats'));
  const name = nodes.find((node) => node['node-name'] === 'disk')?.parent?.['node-name'];
  const [top] = row.disk_chain;
  if (name === undefined || top === undefined || !name.startsWith(topNode)) return null;
  return (await machine.folder.isLent(`lent-${name.slice(topNode.length)}`, host.files.disk(top))) ? name : null;
}

const isAlive = async (record: MachineRecord): Promise<boolean> =>
  (await processStartTime(record.pid)) === record.startTime;
