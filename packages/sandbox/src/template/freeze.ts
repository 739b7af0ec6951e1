import { chmod, chown, mkdir, open, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { GuestClient } from '../guest/index.ts';
import type { AcceleratorReport } from '../host/accelerator.ts';
import { runCommand } from '../host/command.ts';
import { Machine, type MachineSpec } from '../host/machine.ts';
import type { MachinePlace } from '../host/machine-folder.ts';
import type { MachineShape } from '../host/qemu-arguments.ts';

/** Files of a frozen template: RAM and device state of a booted guest, and the disk that belongs to them. */
export const frozenFiles = {
  ram: 'ram',
  state: 'state',
  disk: 'disk.raw',
  emptyLayer: 'empty.qcow2',
  ready: 'ready',
} as const;

export interface FreezeInput {
  readonly templateFolder: string;
  readonly native: { readonly folder: string; readonly shimFile: string };
  readonly place: MachinePlace;
  readonly output: string;
  /** Marks the QEMU process. */
  readonly name: string;
  readonly key: string;
  readonly shape: MachineShape;
  readonly diskMib: number;
  readonly accelerator: AcceleratorReport;
  readonly uid: number;
  readonly warmUp: readonly string[];
  readonly random: (bytes: number) => Uint8Array;
  readonly onProgress: (fraction: number) => void;
}

const bootTimeoutMs = 180_000;
const warmUpTimeoutMs = 180_000;

/**
 * Boots a template once and freezes it with its RAM, so that a sandbox starts as a copy-on-write child of the running machine.
 * Nothing is left behind at `output` unless all of it is on disk.
 */
export async function freezeTemplate(input: FreezeInput): Promise<void> {
  const folder = `${input.output}.partial`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o755 });
  try {
    await makeFiles(folder, input);
    const machine = await Machine.start('freeze', machineSpec(folder, input));
    try {
      await bootAndSave(machine, folder, input);
    } finally {
      await machine.destroy();
    }
    await seal(folder);
    await rename(folder, input.output);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function makeFiles(folder: string, input: FreezeInput): Promise<void> {
  const ram = join(folder, frozenFiles.ram);
  const disk = join(folder, frozenFiles.disk);
  for (const [file, mib] of [
    [ram, input.shape.memoryMib],
    [disk, input.diskMib],
  ] as const) {
    await writeFile(file, '', { mode: 0o600 });
    await truncate(file, mib * 1_048_576);
    if (process.getuid?.() === 0) await chown(file, input.uid, input.uid);
  }
  const features = [
    '-O',
    '^orphan_file,^resize_inode',
    '-E',
    'lazy_itable_init=1,lazy_journal_init=1',
    '-J',
    'size=16',
  ];
  await runCommand('mkfs.ext4', ['-q', '-F', '-m', '0', '-i', '16384', ...features, disk]);
  const size = String(input.diskMib * 1_048_576);
  await runCommand('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-o',
    'cluster_size=64k',
    join(folder, frozenFiles.emptyLayer),
    size,
  ]);
}

function machineSpec(folder: string, input: FreezeInput): MachineSpec {
  return {
    place: input.place,
    templateFolder: input.templateFolder,
    frozenFolder: folder,
    frozenKey: input.key,
    nativeFolder: input.native.folder,
    shimFile: input.native.shimFile,
    uid: input.uid,
    shape: input.shape,
    accelerator: input.accelerator,
    start: 'boot',
    ram: 'shared',
    diskSizeBytes: input.diskMib * 1_048_576,
    name: input.name,
  };
}

async function bootAndSave(machine: Machine, folder: string, input: FreezeInput): Promise<void> {
  await machine.attachDisk([{ file: join(folder, frozenFiles.disk), format: 'raw' }]);
  await machine.run();
  input.onProgress(0.1);
  let guest: GuestClient;
  try {
    guest = await GuestClient.connect(machine.agent, {
      takeover: false,
      timeoutMs: bootTimeoutMs,
      random: () => input.random(16),
    });
  } catch (error) {
    const words = await machine.console().catch(() => '');
    throw new HoldfastError(
      'template.boot_failed',
      'The template did not boot.',
      { console: words.slice(-1500) },
      { cause: error },
    );
  }
  input.onProgress(0.5);
  for (const [index, command] of input.warmUp.entries()) {
    await warmUp(guest, command);
    input.onProgress(0.5 + (0.4 * (index + 1)) / input.warmUp.length);
  }
  await guest.freeze({ sync: true, foreground: 'refuse' });
  await machine.pause();
  await writeFile(join(folder, frozenFiles.state), await machine.saveState());
  guest.close();
}

async function warmUp(guest: GuestClient, command: string): Promise<void> {
  const run = guest.exec({ shell: command, timeoutMs: warmUpTimeoutMs, env: { HOME: '/tmp' } });
  let words = '';
  const drain = async (output: AsyncIterable<Uint8Array>) => {
    for await (const piece of output) words = (words + Buffer.from(piece).toString('utf8')).slice(-1_000);
  };
  await Promise.all([drain(run.stdout), drain(run.stderr)]);
  const exit = await run.result;
  if (exit.exitCode === 0) return;
  throw new HoldfastError(
    'template.warm_up_failed',
    `A warm-up command of the template failed: ${command.slice(0, 200)}`,
    {
      exitCode: exit.exitCode,
      output: words,
    },
  );
}

/** Everything on disk, owned by the server and read-only, before the folder gets its final name. */
async function seal(folder: string): Promise<void> {
  for (const name of [frozenFiles.ram, frozenFiles.state, frozenFiles.disk, frozenFiles.emptyLayer]) {
    const path = join(folder, name);
    if (process.getuid?.() === 0) await chown(path, 0, 0);
    await chmod(path, 0o444);
    const file = await open(path);
    await file.sync();
    await file.close();
  }
  await writeFile(join(folder, frozenFiles.ready), '', { flush: true });
}
