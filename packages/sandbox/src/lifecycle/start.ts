import { readFile } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/core';
import { GuestClient } from '../guest/index.ts';
import { runCommand } from '../host/command.ts';
import type { DiskLayer, Machine } from '../host/machine.ts';
import { type Snapshot, unpackSnapshot } from '../store/snapshot.ts';
import type { FrozenTemplate } from '../template/store.ts';
import type { Host, Running, SandboxRow } from './host.ts';

const answerTimeoutMs = 30_000;
const bootTimeoutMs = 180_000;

/**
 * RAM pages copied in at once on resume, the rest is mapped and comes in as it is touched; and pages whose checksums are
 * verified before the guest runs, of larger images the rest follows in the background.
 */
const pages = { eager: 256, verify: 4_096 };

/** How a machine gets the memory and state that it starts with. */
export interface Start {
  /** Device state to load. */
  readonly state: Uint8Array;
  /** RAM image over the template's RAM, or null for the template as it is. */
  readonly ram: { readonly index: Uint8Array; readonly layers: readonly string[] } | null;
  /** Makes the record that the sandbox runs in this machine; before it the guest does not run. */
  readonly record: (machine: Machine) => Promise<void>;
  readonly reach: { readonly taken?: () => void; readonly loaded: () => void; readonly recorded: () => void };
}

/** The disk of a sandbox as layers, the template's last. */
function diskLayers(host: Host, row: Pick<SandboxRow, 'disk_chain'>): DiskLayer[] {
  return [...row.disk_chain.map((id): DiskLayer => ({ file: host.files.disk(id), format: 'qcow2' })), 'template'];
}

/**
 * Moves a sandbox into a machine of the pool. The guest is greeted and restored (clock, random pool, identity, thaw) before
 * anything else reaches it; requests may be sent at once, they travel behind that.
 */
export async function startFromState(
  host: Host,
  row: SandboxRow,
  template: FrozenTemplate,
  start: Start,
): Promise<Running> {
  const release = host.pool.hold();
  const { ram } = start;
  try {
    const machine = await host.pool.take(template);
    start.reach.taken?.();
    let recorded: Promise<void> | null = null;
    try {
      recorded = start.record(machine);
      recorded.catch(() => undefined);
      const [loaded, diskTop] = await Promise.all([
        ram === null ? null : machine.loadRam(ram.index, ram.layers, pages),
        machine.attachDisk(diskLayers(host, row)),
      ]);
      const verification = loaded?.verification ?? null;
      const guest = greet(host, machine, row, { timeoutMs: answerTimeoutMs, identify: row.identity_pending });
      await machine.loadState(start.state);
      start.reach.loaded();
      await recorded;
      start.reach.recorded();
      await machine.run();
      return { machine, guest, template, diskTop, since: host.clock.monotonic(), verification };
    } catch (error) {
      // What the caller records next must come after this record, which may still be under way.
      await Promise.allSettled([recorded, machine.destroy()]);
      throw error;
    }
  } finally {
    release();
  }
}

/** Boots the kernel with the sandbox's own disk: for when there is no memory to come back to. Processes are gone, files are not. */
export async function coldBoot(
  host: Host,
  row: SandboxRow,
  record: (machine: Machine) => Promise<void>,
): Promise<Running> {
  const template = await host.templates.byKey(row.frozen_key);
  const [top] = row.disk_chain;
  // A killed QEMU leaks clusters at worst; they are given back before anything is written.
  if (top !== undefined)
    await runCommand('qemu-img', ['check', '-q', '-r', 'leaks', host.files.disk(top)], { timeoutMs: 60_000 });
  const machine = await host.pool.boot(template);
  try {
    const diskTop = await machine.attachDisk(diskLayers(host, row));
    await record(machine);
    const guest = greet(host, machine, row, { timeoutMs: bootTimeoutMs, identify: true });
    await machine.run();
    await guest.ready;
    return { machine, guest, template, diskTop, since: host.clock.monotonic(), verification: null };
  } catch (error) {
    const words = await machine.console().catch(() => '');
    host.log.error('a sandbox did not boot from its disk', { sandbox: row.id, console: words.slice(-1_000) });
    await machine.destroy();
    throw error;
  }
}

/**
 * Greets the guest of a machine and sends the restore contract ahead of everything else. `identify` gives the guest its host name and
 * machine id too, which only a guest needs that does not have them in its memory.
 */
export function greet(
  host: Host,
  machine: Machine,
  row: SandboxRow,
  how: { timeoutMs: number; identify: boolean; takeover?: boolean },
): GuestClient {
  const { timeoutMs, identify, takeover = false } = how;
  const guest = GuestClient.start(machine.agent, { takeover, timeoutMs, random: () => host.random(16) });
  const restored = guest.restore({
    timeNs: BigInt(Math.trunc(host.clock.now() * 1_000)) * 1_000n,
    entropy: host.random(64),
    ...(identify ? { hostname: row.hostname, machineId: row.guest_machine_id } : {}),
  });
  // A guest that could not be restored must not be used: what was sent behind it fails with the connection.
  restored.catch((error: unknown) => {
    host.log.error('a guest did not take its restore', { sandbox: row.id, error: String(error) });
    guest.close();
  });
  return guest;
}

/** What a standby left, checked. Throws `sandbox.standby_corrupt`. */
export async function readSnapshot(host: Host, snapshotId: string): Promise<Snapshot> {
  const bytes = await readFile(host.files.snapshot(snapshotId)).catch((cause: unknown) => {
    throw new HoldfastError('sandbox.standby_corrupt', 'The snapshot of the standby cannot be read.', {}, { cause });
  });
  return unpackSnapshot(bytes);
}
