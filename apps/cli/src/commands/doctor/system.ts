import { access, constants, readFile } from 'node:fs/promises';
import { freemem, totalmem } from 'node:os';
import { formatBytes } from '../../output.ts';
import { broken, type Finding, ok, warning } from './finding.ts';

const leastMemoryBytes = 1_610_612_736;

const readText = async (path: string): Promise<string | null> => {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch {
    return null;
  }
};

const readable = async (path: string, mode: number): Promise<boolean> => {
  try {
    await access(path, mode);
    return true;
  } catch {
    return false;
  }
};

const availableBytes = async (): Promise<number> => {
  const meminfo = await readText('/proc/meminfo');
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(meminfo ?? '')?.[1];
  return kib === undefined ? freemem() : Number(kib) * 1024;
};

const checkMemory = async (): Promise<Finding> => {
  const available = await availableBytes();
  const detail = `${formatBytes(available)} available of ${formatBytes(totalmem())}`;
  return available < leastMemoryBytes
    ? warning('memory', detail, 'A running sandbox maps 512 MiB or more; few will run at the same time.')
    : ok('memory', detail);
};

const checkNamespaces = async (): Promise<Finding> => {
  const most = Number((await readText('/proc/sys/user/max_user_namespaces')) ?? '0');
  const unprivileged = await readText('/proc/sys/kernel/unprivileged_userns_clone');
  if (process.getuid?.() === 0) return ok('namespaces', 'made as root');
  if (most > 0 && unprivileged !== '0') return ok('namespaces', 'user namespaces are allowed');
  return broken('namespaces', 'this user may not make namespaces', 'sysctl kernel.unprivileged_userns_clone=1');
};

const checkSeccomp = async (): Promise<Finding> => {
  const has = /^Seccomp:/m.test((await readText('/proc/self/status')) ?? '');
  return has
    ? ok('seccomp', 'the kernel filters system calls')
    : broken(
        'seccomp',
        'the kernel has no seccomp',
        'QEMU is confined with it: use a kernel with CONFIG_SECCOMP_FILTER.',
      );
};

const checkPagemap = async (): Promise<Finding> =>
  (await readable('/proc/self/pagemap', constants.R_OK))
    ? ok('pagemap', 'standby can find changed pages')
    : broken('pagemap', '/proc/self/pagemap cannot be read', 'Use a kernel with CONFIG_PROC_PAGE_MONITOR.');

const checkControlGroups = async (): Promise<Finding> => {
  const controllers = await readText('/sys/fs/cgroup/cgroup.controllers');
  return controllers === null
    ? warning(
        'control groups',
        'version 2 is not mounted at /sys/fs/cgroup',
        'QEMU processes are then limited by less.',
      )
    : ok('control groups', controllers === '' ? 'version 2' : `version 2: ${controllers}`);
};

const checkKvmDevice = async (): Promise<Finding> => {
  const usable = await readable('/dev/kvm', constants.R_OK | constants.W_OK);
  const there = usable || (await readable('/dev/kvm', constants.F_OK));
  if (usable) return ok('/dev/kvm', 'there; whether it runs a guest is shown under accelerator');
  return there
    ? warning('/dev/kvm', 'there, but not for this user', 'Add the user to the group kvm.')
    : warning('/dev/kvm', 'not there: sandboxes run in software emulation');
};

export const checkSystem = (): Promise<Finding[]> =>
  Promise.all([
    checkMemory(),
    checkNamespaces(),
    checkSeccomp(),
    checkPagemap(),
    checkControlGroups(),
    checkKvmDevice(),
  ]);
