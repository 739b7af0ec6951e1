import { spawn } from 'node:child_process';
import { access, constants, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { runCommand } from './command.ts';

export const acceleratorReport = z.object({
  accelerator: z.enum(['kvm', 'tcg']),
  /** Why this one, in words for a person. */
  reason: z.string(),
  qemuVersion: z.string(),
  /** Milliseconds from the start of QEMU to the end of the probe guest's boot. */
  probeMs: z.number(),
  /** Frequency of the host's time stamp counter in kHz; the guest is told, as software emulation cannot calibrate it under load. */
  tscKhz: z.number(),
  cpuModel: z.string(),
  isolation: z.string(),
});

export type AcceleratorReport = z.output<typeof acceleratorReport>;

export const qemuProgram = process.arch === 'arm64' ? 'qemu-system-aarch64' : 'qemu-system-x86_64';

const remembered = z.object({ bootId: z.string(), report: acceleratorReport });

/** A kernel without a root file system gets this far only if it ran for real: modes, paging, interrupts and timers. */
const probeProof = 'Kernel panic - not syncing';

/** A kernel under working KVM panics within a second; under emulation within some ten even on a loaded host. */
const probeTimeoutMs = { kvm: 10_000, tcg: 120_000 } as const;

/**
 * Finds out whether KVM can really run a guest, by booting a kernel: `/dev/kvm` can exist, open, create a machine
 * and run its first instructions where a real guest then hangs. The answer is remembered in `folder` until the host boots again or QEMU changes.
 */
export async function probeAccelerator(
  kernelPath: string,
  folder: string,
  now: () => number,
): Promise<AcceleratorReport> {
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const qemuVersion = await installedQemu();
  const path = join(folder, 'accelerator.json');
  const before = await readRemembered(path);
  if (before !== null && before.bootId === bootId && before.report.qemuVersion === qemuVersion) return before.report;
  const kvm = await kvmVerdict(kernelPath, now);
  const tcg = kvm.usable ? kvm : await bootProbeGuest(kernelPath, 'tcg', now);
  if (!tcg.usable) {
    throw new HoldfastError('host.qemu_unusable', `QEMU cannot run a guest here, not even emulated: ${tcg.reason}`);
  }
  const cpu = await readCpu();
  const report: AcceleratorReport = {
    accelerator: kvm.usable ? 'kvm' : 'tcg',
    reason: kvm.usable ? 'a probe guest ran under KVM' : `software emulation, because ${kvm.reason}`,
    qemuVersion,
    probeMs: tcg.elapsedMs,
    ...cpu,
    isolation: kvm.usable
      ? 'hardware virtualisation: a security boundary that QEMU supports'
      : 'software emulation: QEMU does not support it as a security boundary; run only code you trust as much as the host allows',
  };
  await writeFile(path, JSON.stringify({ bootId, report }));
  return report;
}

async function readRemembered(path: string): Promise<z.output<typeof remembered> | null> {
  try {
    return remembered.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return null; // absent or from another version: probe again
  }
}

async function installedQemu(): Promise<string> {
  const text = await runCommand(qemuProgram, ['--version']).catch((cause: unknown) => {
    throw new HoldfastError('host.qemu_missing', `${qemuProgram} is not installed.`, {}, { cause });
  });
  return /version (\S+)/.exec(text)?.[1] ?? 'unknown';
}

async function readCpu(): Promise<{ tscKhz: number; cpuModel: string }> {
  const text = await readFile('/proc/cpuinfo', 'utf8');
  const bogomips = Number(/^bogomips\s*:\s*([\d.]+)/m.exec(text)?.[1] ?? '4000');
  return { tscKhz: Math.round(bogomips * 500), cpuModel: /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? 'unknown' };
}

interface Verdict {
  readonly usable: boolean;
  readonly reason: string;
  readonly elapsedMs: number;
}

async function kvmVerdict(kernelPath: string, now: () => number): Promise<Verdict> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return { usable: false, reason: '/dev/kvm is absent or not accessible to this user', elapsedMs: 0 };
  }
  return bootProbeGuest(kernelPath, 'kvm', now);
}

async function bootProbeGuest(kernelPath: string, accelerator: 'kvm' | 'tcg', now: () => number): Promise<Verdict> {
  const cpu = await readCpu();
  const args = ['-M', 'microvm', '-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max', '-m', '128'];
  args.push(
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-serial',
    'stdio',
    '-kernel',
    kernelPath,
  );
  args.push('-append', `console=ttyS0 panic=-1 reboot=t ${accelerator === 'tcg' ? emulatedClock(cpu.tscKhz) : ''}`);
  const started = now();
  return new Promise<Verdict>((resolve) => {
    let output = '';
    const child = spawn(qemuProgram, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: probeTimeoutMs[accelerator],
      killSignal: 'SIGKILL',
    });
    const keep = (text: string) => {
      output = (output + text).slice(-20_000);
    };
    const finish = (usable: boolean, reason: string) => resolve({ usable, reason, elapsedMs: now() - started });
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => finish(false, error.message));
    child.on('close', (code, signal) => {
      if (output.includes(probeProof)) finish(true, 'a probe guest ran');
      else if (signal === 'SIGKILL') finish(false, `a guest started under ${accelerator} and then hung`);
      else if (signal !== null) finish(false, `QEMU under ${accelerator} ended by ${signal} when a guest booted`);
      else finish(false, `a guest under ${accelerator} failed: ${output.trim().slice(-300) || `exit code ${code}`}`);
    });
  });
}

/** Kernel arguments without which an emulated guest can hang at boot while it calibrates its clock on a loaded host. */
export const emulatedClock = (tscKhz: number): string =>
  `tsc_early_khz=${tscKhz} tsc=reliable lpj=4000000 no_timer_check`;
