import { newId } from '@holdfast/core';
import type { FileReferences } from '../store/files.ts';
import type { SandboxPatch } from '../store/sandbox-table.ts';
import { packSnapshot } from '../store/snapshot.ts';
import type { Host, Running, SandboxRow } from './host.ts';

/** A saved guest: everything has left its machine, and no record names it yet. */
export interface Saved {
  readonly snapshotId: string;
  readonly ramChain: readonly string[];
  readonly dirtyPages: number;
  /** Resolves when all of it is on disk. When it rejects the files are gone. */
  readonly durable: Promise<void>;
}

/**
 * Writes RAM and device state of a paused machine. `own` writes in place into the top layer if no other sandbox shares
 * it; a fork always gets a new layer.
 */
export async function saveMachine(host: Host, row: SandboxRow, running: Running, mode: 'own' | 'fork'): Promise<Saved> {
  const { machine } = running;
  const { files } = host;
  const snapshotId = newId('snp');
  const top = row.ram_chain.at(-1);
  const inPlace = mode === 'own' && top !== undefined && files.isExclusive(top);
  const ramId = inPlace ? top : await files.createRam();
  const ramChain = inPlace ? row.ram_chain : [...row.ram_chain, ramId];
  const discarding = async (error: unknown): Promise<never> => {
    await files.discard([ramId, snapshotId]);
    throw error;
  };
  const [ram, state] = await Promise.all([
    machine.saveRam(files.ram(ramId), ramChain.length - 1),
    machine.saveState(),
  ]).catch(discarding);
  const durable = Promise.all([
    files.writeSnapshot(snapshotId, packSnapshot({ state, index: ram.index })),
    files.syncRam(ramId, { isNew: !inPlace }),
  ]).then(() => undefined, discarding);
  durable.catch(() => undefined);
  return { snapshotId, ramChain, dirtyPages: ram.dirtyPages, durable };
}

/** How a sandbox stands by. `idle`: by itself, and nobody waits for it, so its disk is written out too and each step is sure before the next. */
export interface StandbyManner {
  readonly force: boolean;
  readonly idle: boolean;
}

/**
 * Puts a running sandbox in standby. When it returns the new row, nothing is left of it but files. When it throws, the sandbox runs on,
 * or its machine has ended: a disk that does not take what was written to it costs the processes.
 */
export async function standBy(host: Host, row: SandboxRow, running: Running, how: StandbyManner): Promise<SandboxRow> {
  const { machine, guest } = running;
  await guest.freeze({ sync: how.idle, foreground: how.force ? 'detach' : 'refuse' });
  let saved: Saved;
  try {
    host.reach('standby.frozen');
    await machine.pause();
    host.reach('standby.paused');
    saved = await saveMachine(host, row, running, 'own');
    // What fails until here leaves a machine that can go on.
    if (how.idle) await saved.durable;
  } catch (error) {
    await carryOn(host, row, running);
    throw error;
  }
  // Nothing is in the process any more, so it may end while the rest becomes durable.
  const ended = how.idle ? null : machine.end();
  host.reach('standby.saved');
  // A record that a power cut leaves without all of its files is found out by their checksums; nobody was told of it yet.
  const [patch] = await Promise.all([recordStandby(host, row, running, saved), saved.durable]);
  const after = { ...row, ...patch };
  host.reach('standby.recorded');
  await (ended ?? machine.end());
  host.reach('standby.stopped');
  host.later(machine.folder.remove());
  host.later(host.files.exchange(referencesOf(row), referencesOf(after)));
  return after;
}

/** Attempts to record what is on disk already; each waits some seconds for a database that is away. */
const recordAttempts = 4;

async function recordStandby(host: Host, row: SandboxRow, running: Running, saved: Saved) {
  const references = { diskChain: row.disk_chain, ramChain: saved.ramChain, snapshotId: saved.snapshotId };
  const patch = {
    state: 'standby',
    machine_id: null,
    snapshot_id: saved.snapshotId,
    ram_chain: [...saved.ramChain],
    stored_bytes: await host.files.storedBytes(references),
    run_time_ms: Math.round(Number(row.run_time_ms) + host.clock.monotonic() - running.since),
    last_active_at: new Date(host.clock.now()),
  } as const satisfies SandboxPatch;
  const note = { type: 'standby', data: { dirtyPages: saved.dirtyPages, storedBytes: patch.stored_bytes } };
  for (let attempt = 1; ; attempt++) {
    try {
      await host.table.update(row, patch, note);
      return patch;
    } catch (error) {
      if (attempt === recordAttempts) throw error;
      host.log.warn('a standby could not be recorded yet', { sandbox: row.id, error: String(error) });
    }
  }
}

/** Lets a paused guest run on: after a fork, or when a standby failed in its machine. Never throws; one that can't is ended. */
export async function carryOn(host: Host, row: SandboxRow, running: Running): Promise<void> {
  if (running.machine.hasExited) return;
  try {
    await running.machine.run();
    await running.guest.thaw();
  } catch (error) {
    host.log.error('a paused sandbox cannot go on', { sandbox: row.id, error: String(error) });
    await running.machine.destroy();
  }
}

export const referencesOf = (row: SandboxRow): FileReferences => ({
  diskChain: row.disk_chain,
  ramChain: row.ram_chain,
  snapshotId: row.snapshot_id,
});
