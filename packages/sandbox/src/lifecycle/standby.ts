import { newId } from '@holdfast/core';
import type { FileReferences } from '../store/files.ts';
import type { SandboxPatch } from '../store/sandbox-table.ts';
import { packSnapshot } from '../store/snapshot.ts';
import type { Host, Running, SandboxRow } from './host.ts';

/** RAM layers in a chain beyond which a standby writes one layer of its own with everything in it. */
export const mostRamLayers = 32;

/** A saved guest: everything is on disk, and no record names it yet. */
export interface Saved {
  readonly snapshotId: string;
  readonly ramChain: readonly string[];
  readonly dirtyPages: number;
}

/**
 * Writes RAM and device state of a paused machine to disk, durably. `own` writes in place into the top layer if no
 * other sandbox shares it; a fork always gets a new layer.
 */
export async function saveMachine(host: Host, row: SandboxRow, running: Running, mode: 'own' | 'fork'): Promise<Saved> {
  const { machine } = running;
  const snapshotId = newId('snp');
  const top = row.ram_chain.at(-1);
  const inPlace = mode === 'own' && top !== undefined && host.files.isExclusive(top);
  const ramId = inPlace ? top : await host.files.createRam();
  const ramChain = inPlace ? row.ram_chain : [...row.ram_chain, ramId];
  const [ram, state] = await Promise.all([
    machine.saveRam(host.files.ram(ramId), ramChain.length - 1),
    machine.saveState(),
  ]);
  await host.files.writeSnapshot(snapshotId, packSnapshot({ state, index: ram.index }));
  if (!inPlace) await host.files.syncFolder('rams');
  return { snapshotId, ramChain, dirtyPages: ram.dirtyPages };
}

/**
 * Puts a running sandbox in standby. When it returns the new row, nothing is left of it but files; when it throws, the sandbox runs on.
 */
export async function standBy(
  host: Host,
  row: SandboxRow,
  running: Running,
  how: { force: boolean; sync: boolean },
): Promise<SandboxRow> {
  const { machine, guest } = running;
  await guest.freeze({ sync: how.sync, foreground: how.force ? 'detach' : 'refuse' });
  let after: SandboxRow;
  try {
    host.reach('standby.frozen');
    await machine.pause();
    host.reach('standby.paused');
    const saved = await saveMachine(host, row, running, 'own');
    host.reach('standby.accepted');
    const references = { diskChain: row.disk_chain, ramChain: saved.ramChain, snapshotId: saved.snapshotId };
    const patch = await standbyPatch(host, row, running, saved, references);
    await host.table.update(row, patch, {
      type: 'standby',
      data: { dirtyPages: saved.dirtyPages, storedBytes: patch.stored_bytes },
    });
    after = { ...row, ...patch };
  } catch (error) {
    await carryOn(host, row, running);
    throw error;
  }
  host.reach('standby.recorded');
  await machine.destroy();
  host.reach('standby.stopped');
  await host.files.exchange(referencesOf(row), referencesOf(after));
  return after;
}

/**
 * Lets a guest run on whose standby failed. When it is unknown whether the standby was recorded, the record must say "running" first:
 * a guest that runs on changes its disk, and memory saved before that must never be loaded again.
 */
async function carryOn(host: Host, row: SandboxRow, running: Running): Promise<void> {
  try {
    await host.table.update(row, { state: 'running', machine_id: running.machine.id }, { type: 'standby_failed' });
    await running.machine.run();
    await running.guest.thaw();
  } catch (error) {
    host.log.error('a sandbox whose standby failed cannot go on', { sandbox: row.id, error: String(error) });
    await running.machine.destroy();
  }
}

async function standbyPatch(host: Host, row: SandboxRow, running: Running, saved: Saved, references: FileReferences) {
  return {
    state: 'standby',
    machine_id: null,
    snapshot_id: saved.snapshotId,
    ram_chain: [...saved.ramChain],
    stored_bytes: await host.files.storedBytes(references),
    run_time_ms: Math.round(Number(row.run_time_ms) + host.clock.monotonic() - running.since),
    last_active_at: new Date(host.clock.now()),
  } as const satisfies SandboxPatch;
}

export const referencesOf = (row: SandboxRow): FileReferences => ({
  diskChain: row.disk_chain,
  ramChain: row.ram_chain,
  snapshotId: row.snapshot_id,
});
