import { HoldfastError, newId } from '@holdfast/core';
import type { Host, Running, SandboxRow } from './host.ts';
import { guestIdentity } from './identity.ts';
import { referencesOf, saveMachine } from './standby.ts';

export interface ForkOptions {
  readonly count: number;
  readonly name: string | undefined;
}

/** Layers that a fork may inherit; RAM images have at most 64. */
const mostLayers = 60;

/** Rows of forks, and the source's row as it is afterwards. */
export interface Forked {
  readonly source: SandboxRow;
  readonly children: SandboxRow[];
}

/**
 * Forks a sandbox that stands by. Nothing runs: the forks name the same RAM layers, snapshot and disk as the source, and each
 * of them, the source too, gets an empty disk layer of its own on top.
 */
export async function forkStandby(host: Host, source: SandboxRow, options: ForkOptions): Promise<Forked> {
  const template = await host.templates.byKey(source.frozen_key);
  const top = await host.files.createDisk(template);
  const parent = { ...source, disk_chain: [top, ...source.disk_chain] };
  const children = await makeChildren(host, source, source, options);
  await host.files.syncFolder('disks');
  await recordFork(host, source, parent, children);
  return { source: parent, children };
}

/** Forks a running sandbox: it is paused while its memory is written out, and runs on with a new disk layer on top. */
export async function forkRunning(
  host: Host,
  source: SandboxRow,
  running: Running,
  options: ForkOptions,
): Promise<Forked> {
  const { machine, guest, template } = running;
  await guest.freeze({ sync: true, foreground: 'keep' });
  try {
    await machine.pause();
    host.reach('fork.paused');
    const saved = await saveMachine(host, source, running, 'fork');
    host.reach('fork.saved');
    const top = await host.files.createDisk(template);
    const snapshot = {
      ...source,
      ram_chain: [...saved.ramChain],
      snapshot_id: saved.snapshotId,
    };
    const children = await makeChildren(host, source, snapshot, options);
    await host.files.syncFolder('disks');
    const parent = { ...source, disk_chain: [top, ...source.disk_chain] };
    await recordFork(host, source, parent, children);
    host.reach('fork.recorded');
    await growDisk(host, source, running, top);
    host.reach('fork.layered');
    return { source: parent, children };
  } finally {
    if (!machine.hasExited) {
      await machine.run();
      await guest.thaw();
    }
  }
}

/**
 * Puts the new layer on top of a paused guest's disk. The forks are recorded by now and read what was the top: a guest that cannot be
 * moved off it must never write again, so its machine ends.
 */
async function growDisk(host: Host, source: SandboxRow, running: Running, top: string): Promise<void> {
  try {
    running.diskTop = await running.machine.growDisk({ file: host.files.disk(top), format: 'qcow2' }, running.diskTop);
  } catch (error) {
    host.log.error('a forked sandbox could not get a new disk layer', { sandbox: source.id, error: String(error) });
    await running.machine.destroy();
  }
}

async function makeChildren(
  host: Host,
  source: SandboxRow,
  snapshot: SandboxRow,
  options: ForkOptions,
): Promise<SandboxRow[]> {
  if (Math.max(snapshot.disk_chain.length, snapshot.ram_chain.length) > mostLayers) {
    throw new HoldfastError('sandbox.too_many_layers', 'This sandbox was forked too often in a row.', {
      layers: snapshot.disk_chain.length,
    });
  }
  const template = await host.templates.byKey(source.frozen_key);
  const children: SandboxRow[] = [];
  for (let number = 1; number <= options.count; number++) {
    const id = newId('sbx');
    const disk = await host.files.createDisk(template);
    const now = new Date(host.clock.now());
    children.push({
      ...snapshot,
      ...guestIdentity(id),
      identity_pending: true,
      id,
      name: childName(options, number),
      parent_id: source.id,
      state: 'standby',
      machine_id: null,
      keep_alive_until: null,
      disk_chain: [disk, ...snapshot.disk_chain],
      run_time_ms: 0,
      notice: null,
      created_at: now,
      last_active_at: now,
      stored_bytes: 0,
    });
  }
  return children;
}

function childName(options: ForkOptions, number: number): string | null {
  if (options.name === undefined) return null;
  return options.count === 1 ? options.name : `${options.name}-${number}`;
}

async function recordFork(
  host: Host,
  source: SandboxRow,
  parent: SandboxRow,
  children: readonly SandboxRow[],
): Promise<void> {
  // No machine may write what others read, also not through a user that it once had in common with the writer.
  for (const id of source.disk_chain.slice(0, 1)) await host.files.share(host.files.disk(id));
  for (const id of children[0]?.ram_chain ?? []) await host.files.share(host.files.ram(id));
  for (const child of children) host.files.hold(referencesOf(child));
  host.files.hold({ diskChain: parent.disk_chain.slice(0, 1), ramChain: [], snapshotId: null });
  try {
    await host.table.recordFork(parent, children);
  } catch (error) {
    for (const child of children) await host.files.release(referencesOf(child));
    await host.files.release({ diskChain: parent.disk_chain.slice(0, 1), ramChain: [], snapshotId: null });
    throw error;
  }
}
