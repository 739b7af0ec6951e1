import { type AcceleratorReport, emulatedClock, qemuProgram } from './accelerator.ts';

/** Names inside a machine's jail. */
export const jailPaths = {
  template: '/template',
  frozen: '/frozen',
  machine: '/machine',
  runtime: '/runtime',
  native: '/native',
} as const;

export const socketNames = { qmp: 'qmp.sock', agent: 'agent.sock', shim: 'shim.sock', state: 'state.sock' } as const;

/** What decides a machine's hardware. Two machines can exchange state only when these are equal. */
export interface MachineShape {
  readonly memoryMib: number;
  readonly vcpus: number;
}

export interface QemuOptions {
  readonly shape: MachineShape;
  readonly accelerator: AcceleratorReport;
  /** `boot` runs the kernel; `incoming` waits for saved state. */
  readonly start: 'boot' | 'incoming';
  /** Whether guest RAM goes to the RAM file (freezing a template) or stays private (everything else). */
  readonly ram: 'shared' | 'private';
  readonly diskSizeBytes: number;
  /** A name that marks the process as this data folder's. */
  readonly name: string;
}

/** The template's RAM file as QEMU and the RAM shim name it. */
export const ramPath = `${jailPaths.frozen}/ram`;

/** The template's disk, and the block node that it is in every machine but the one that makes it. */
const diskPath = `${jailPaths.frozen}/disk.raw`;
export const templateNode = 'template-disk';

/** Translated code that software emulation may keep, in MiB. */
const translationBufferMib = 128;

/**
 * QEMU's command line. The machine has five devices at most and no network card; the writable disk starts as an empty node
 * that is exchanged for the sandbox's own when one moves in.
 */
export function qemuArguments(options: QemuOptions): string[] {
  const { shape, accelerator } = options;
  const args = [
    qemuProgram,
    '-name',
    options.name,
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-S',
  ];
  args.push(
    '-M',
    'microvm,memory-backend=m0,mem-merge=off,suppress-vmdesc=on',
    '-global',
    'migration.send-configuration=off',
  );
  if (accelerator.accelerator === 'kvm') args.push('-accel', 'kvm', '-cpu', 'host');
  else args.push('-accel', `tcg,thread=multi,tb-size=${translationBufferMib}`, '-cpu', 'max,la57=off');
  args.push('-smp', String(shape.vcpus), '-m', `${shape.memoryMib}M`);
  const share = options.ram === 'shared' ? 'on' : 'off';
  args.push('-object', `memory-backend-file,id=m0,size=${shape.memoryMib}M,mem-path=${ramPath},share=${share}`);
  args.push('-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny');
  args.push('-qmp', `unix:${jailPaths.runtime}/${socketNames.qmp},server=on,wait=off`);
  if (options.start === 'incoming') args.push('-incoming', 'defer');
  else
    args.push(
      '-kernel',
      `${jailPaths.template}/vmlinuz`,
      '-initrd',
      `${jailPaths.template}/initramfs.cpio`,
      '-append',
      kernelArguments(accelerator),
    );
  if (options.ram === 'private')
    args.push(
      '-blockdev',
      `driver=file,node-name=template-file,filename=${diskPath},read-only=on,cache.no-flush=on`,
      '-blockdev',
      `driver=raw,node-name=${templateNode},file=template-file,read-only=on`,
    );
  return [...args, ...deviceArguments(options.diskSizeBytes)];
}

function deviceArguments(diskSizeBytes: number): string[] {
  const root = `${jailPaths.template}/root.erofs`;
  return [
    '-chardev',
    'ringbuf,id=console,size=65536',
    '-serial',
    'chardev:console',
    '-blockdev',
    `driver=file,node-name=root-file,filename=${root},read-only=on,cache.no-flush=on`,
    '-blockdev',
    'driver=raw,node-name=root,file=root-file,read-only=on',
    '-blockdev',
    `driver=null-co,node-name=empty,size=${diskSizeBytes},read-zeroes=on`,
    '-blockdev',
    'driver=raw,node-name=disk,file=empty,discard=unmap',
    '-device',
    'virtio-blk-device,drive=root',
    '-device',
    'virtio-blk-device,drive=disk,discard=on',
    '-device',
    'virtio-serial-device,max_ports=2',
    '-chardev',
    `socket,id=agent,path=${jailPaths.runtime}/${socketNames.agent},server=on,wait=off`,
    '-device',
    'virtserialport,chardev=agent,name=holdfast.agent.0',
    '-object',
    'rng-random,id=rng0,filename=/dev/urandom',
    '-device',
    'virtio-rng-device,rng=rng0',
  ];
}

/** Lets the agent reach its processor's interrupt controller, see guest/agent/hold.c. */
const openController = 'iomem=relaxed';

/**
 * What the guest kernel leaves out. Each of these runs on every system call, switch or tick, and after a resume under emulation all
 * of it is translated anew; inside a guest of one owner none of it separates anybody. The boundary is the machine.
 */
const leanKernel =
  'psi=0 cgroup.memory=nokmem,nosocket lsm= audit=0 nowatchdog hardened_usercopy=off init_on_alloc=0 randomize_kstack_offset=off noautogroup preempt=none';

function kernelArguments(accelerator: AcceleratorReport): string {
  const basic =
    'console=ttyS0 quiet loglevel=3 panic=-1 reboot=t cgroup_no_v1=all transparent_hugepage=madvise random.trust_cpu=on';
  const common = `${basic} ${openController} ${leanKernel}`;
  if (accelerator.accelerator === 'kvm') return common;
  // Speculation does not leak under emulation, where the mitigations cost most.
  return `${common} mitigations=off ${emulatedClock(accelerator.tscKhz)}`;
}
