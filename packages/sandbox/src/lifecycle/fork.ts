import { HoldfastError, newId } from '@holdfast/core';
import { isUnreachable, persist } from '../store/persistence.ts';
import type { Host, Running, SandboxRow } from './host.ts';
import { guestIdentity } from './identity.ts';
import { carryOn, referencesOf, saveMachine } from './standby.ts';

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
  const made: string[] = [];
  try {
    const top = await host.files.createDisk(template);
    made.push(top);
    const children = await makeChildren(host, source, options, made);
    await host.files.syncFolder('disks');
    const forked = { source: { ...source, disk_chain: [top, ...source.disk_chain] }, children };
    await recordFork(host, source, forked);
    return forked;
  } catch (error) {
    await host.files.discard(made);
    throw error;
  }
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
  const made: string[] = [];
  let forked: Forked;
  let top: string;
  try {
    await machine.pause();
    host.reach('fork.paused');
    const saved = await saveMachine(host, source, running, 'fork');
    await saved.durable;
    made.push(saved.snapshotId, ...saved.ramChain.slice(-1));
    host.reach('fork.saved');
    top = await host.files.createDisk(template);
    made.push(top);
    const snapshot = { ...source, ram_chain: [...saved.ramChain], snapshot_id: saved.snapshotId };
    const children = await makeChildren(host, snapshot, options, made);
    await host.files.syncFolder('disks');
    forked = { source: { ...source, disk_chain: [top, ...source.disk_chain] }, children };
    await recordFork(host, source, forked);
  } catch (error) {
    await host.files.discard(made);
    await carryOn(host, source, running);
    throw error;
  }
  // From here on the forks exist, whatever becomes of the machine.
  host.reach('fork.recorded');
  await growDisk(host, source, running, top);
  host.reach('fork.layered');
  await carryOn(host, source, running);
  return forked;
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

/** Rows for forks of what `snapshot` names. Their disks are on disk then, and noted in `made`. */
async function makeChildren(
  host: Host,
  snapshot: SandboxRow,
  options: ForkOptions,
  made: string[],
): Promise<SandboxRow[]> {
  if (Math.max(snapshot.disk_chain.length, snapshot.ram_chain.length) > mostLayers) {
    throw new HoldfastError('sandbox.too_many_layers', 'This sandbox was forked too often in a row.', {
      layers: snapshot.disk_chain.length,
    });
  }
  const template = await host.templates.byKey(snapshot.frozen_key);
  const children: SandboxRow[] = [];
  for (let number = 1; number <= options.count; number++) {
    const id = newId('sbx');
    const disk = await host.files.createDisk(template);
    made.push(disk);
    const now = new Date(host.clock.now());
    children.push({
      ...snapshot,
      ...guestIdentity(id),
      identity_pending: true,
      id,
      name: childName(options, number),
      parent_id: snapshot.id,
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

async function recordFork(host: Host, source: SandboxRow, forked: Forked): Promise<void> {
  const { source: parent, children } = forked;
  const top = { diskChain: parent.disk_chain.slice(0, 1), ramChain: [], snapshotId: null };
  // No machine may write what others read, also not through a user that it once had in common with the writer.
  for (const id of source.disk_chain.slice(0, 1)) await host.files.share(host.files.disk(id));
  for (const id of children[0]?.ram_chain ?? []) await host.files.share(host.files.ram(id));
  for (const child of children) host.files.hold(referencesOf(child));
  host.files.hold(top);
  try {
    await host.table.recordFork(parent, children);
  } catch (error) {
    // Lost with the answer: while it is not known whether the forks exist, nothing of them may be removed or written.
    if (isUnreachable(error) && (await wasRecorded(host, parent))) return;
    for (const child of children) await host.files.release(referencesOf(child));
    await host.files.release(top);
    throw error;
  }
}

const wasRecorded = (host: Host, parent: SandboxRow): Promise<boolean> =>
  persist(async () => (await host.table.reload(parent.id))?.disk_chain[0] === parent.disk_chain[0]);
