import { spawn } from 'node:child_process';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { jailCommand } from './jail.ts';
import type { MachineSpec } from './machine.ts';
import { type MachineFolder, type MachineRecord, processStartTime } from './machine-folder.ts';
import { jailPaths, qemuArguments, ramPath, socketNames } from './qemu-arguments.ts';

const startTimeoutMs = 30_000;
const pollMs = 2;
const jailStatus = z.object({ 'child-pid': z.number().int().positive() });

/** Whether the server can give each machine a user of its own. */
export const asRoot = process.getuid?.() === 0;

/** A QEMU process in its jail, as its parent sees it. */
export interface JailedProcess {
  readonly pid: Promise<number>;
  readonly exited: Promise<void>;
  /** Resolves when it has exited and all its words are read. */
  readonly closed: Promise<void>;
  failure(): HoldfastError;
  kill(): void;
}

export function spawnJailed(spec: MachineSpec, folder: MachineFolder): JailedProcess {
  const mounts = [
    { from: spec.templateFolder, to: jailPaths.template },
    { from: spec.frozenFolder, to: jailPaths.frozen, writable: spec.ram === 'shared' },
    { from: spec.nativeFolder, to: jailPaths.native },
    { from: folder.path, to: jailPaths.machine, writable: true },
    { from: folder.runtime, to: jailPaths.runtime, writable: true },
    ...(spec.accelerator.accelerator === 'kvm' ? [{ from: '/dev/kvm', to: '/dev/kvm', device: true }] : []),
  ];
  const env: Record<string, string> = {
    LD_PRELOAD: `${jailPaths.native}/${spec.shimFile}`,
    HOLDFAST_RAM_PATH: ramPath,
  };
  env.HOLDFAST_SHIM_SOCKET = `${jailPaths.runtime}/${socketNames.shim}`;
  if (spec.ram === 'private') env.HOLDFAST_RAM_READONLY = '1';
  const qemu = ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`), ...qemuArguments(spec)];
  const options = {
    uid: spec.uid,
    mounts,
    cwd: jailPaths.machine,
    env: { PATH: '/usr/bin:/bin' },
    hostname: 'machine',
  };
  const [program = 'bwrap', ...rest] = jailCommand(qemu, options, asRoot);
  const jail = ['--as-pid-1', '--json-status-fd', '3', ...rest];
  const limits = ['--core=0', '--nofile=4096', '--', program, ...jail];
  const child = spawn('prlimit', limits, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: true });
  return watchChild(child);
}

function watchChild(child: ReturnType<typeof spawn>): JailedProcess {
  const pid = Promise.withResolvers<number>();
  const exited = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  let words = '';
  let known: number | undefined;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    words = (words + text).slice(-2_000);
  });
  const status = child.stdio[3];
  let line = '';
  if (status !== null && status !== undefined && 'on' in status) {
    status.on('data', (chunk: Buffer) => {
      line = (line + chunk.toString('utf8')).slice(0, 4_096);
      const end = line.indexOf('\n');
      if (end < 0 || known !== undefined) return;
      known = jailStatus.parse(JSON.parse(line.slice(0, end)))['child-pid'];
      pid.resolve(known);
    });
  }
  child.on('error', (error) => {
    words += error.message;
    exited.resolve();
    closed.resolve();
  });
  child.on('exit', () => exited.resolve());
  child.on('close', () => closed.resolve());
  child.unref();
  return {
    pid: pid.promise,
    exited: exited.promise,
    closed: closed.promise,
    failure: () => new HoldfastError('sandbox.machine_failed', `QEMU did not start: ${words.trim() || 'no message'}`),
    kill: () => {
      if (known !== undefined) killProcess(known);
      child.kill('SIGKILL');
    },
  };
}

export function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it is gone already
  }
}

/** QEMU makes its sockets some milliseconds after it starts. */
export async function untilThere<T>(attempt: () => Promise<T>, child: JailedProcess): Promise<T> {
  let over = false;
  const gone = child.closed.then(() => {
    over = true;
  });
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (over) throw child.failure();
      if (performance.now() > deadline) throw error;
    }
    await Promise.race([gone, new Promise((resolve) => setTimeout(resolve, pollMs))]);
  }
}

/** A process that is not our child can only be watched by looking. */
export async function untilGone(record: MachineRecord): Promise<void> {
  while ((await processStartTime(record.pid)) === record.startTime) {
    await new Promise<void>((resolve) => setTimeout(resolve, pollMs).unref());
  }
}
