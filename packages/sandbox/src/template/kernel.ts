import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { runCommand } from '../host/command.ts';
import { type CpioEntry, packCpio } from './cpio.ts';

/** Modules the guest needs before its root file system is there. */
const guestModules = [
  'virtio_mmio',
  'virtio_blk',
  'virtio_console',
  'virtio_rng',
  'virtio_net',
  'erofs',
  'overlay',
] as const;

export interface GuestKernel {
  readonly imagePath: string;
  readonly initramfsPath: string;
  /** Release such as 6.1.0-56-cloud-amd64. */
  readonly release: string;
}

/**
 * Downloads Debian's cloud kernel (never installed on the host), and packs an initramfs of the agent and the modules it loads.
 * Writes `vmlinuz` and `initramfs.cpio` into `folder`.
 */
export async function buildKernel(folder: string, agentPath: string): Promise<GuestKernel> {
  const download = join(folder, 'kernel-package');
  await rm(download, { recursive: true, force: true });
  await mkdir(download, { recursive: true });
  const packageName = await kernelPackage();
  await runCommand('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', packageName], {
    cwd: download,
    timeoutMs: 600_000,
  });
  const archive = (await readdir(download)).find((name) => name.endsWith('.deb'));
  if (archive === undefined)
    throw new HoldfastError('template.build_failed', `apt-get did not download ${packageName}.`);
  const tree = join(download, 'tree');
  await runCommand('dpkg-deb', ['-x', join(download, archive), tree]);
  const image = (await readdir(join(tree, 'boot'))).find((name) => name.startsWith('vmlinuz-'));
  if (image === undefined) throw new HoldfastError('template.build_failed', `${packageName} holds no kernel image.`);
  const release = image.slice('vmlinuz-'.length);
  const kernel = { imagePath: join(folder, 'vmlinuz'), initramfsPath: join(folder, 'initramfs.cpio'), release };
  await writeFile(kernel.imagePath, await readFile(join(tree, 'boot', image)));
  await writeFile(kernel.initramfsPath, await packInitramfs(join(tree, 'lib/modules', release), agentPath));
  await rm(download, { recursive: true });
  return kernel;
}

/** The versioned package behind the metapackage of this architecture. */
async function kernelPackage(): Promise<string> {
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const depends = await runCommand('apt-cache', ['depends', '--important', `linux-image-cloud-${arch}`]);
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) {
    throw new HoldfastError(
      'template.build_failed',
      `apt knows no package linux-image-cloud-${arch}; run apt-get update.`,
    );
  }
  return name;
}

async function packInitramfs(modulesFolder: string, agentPath: string): Promise<Buffer> {
  const files = new Map<string, string>();
  for (const file of await readdir(modulesFolder, { recursive: true })) {
    if (file.endsWith('.ko')) files.set(moduleName(basename(file, '.ko')), join(modulesFolder, file));
  }
  const ordered = new Map<string, Buffer>();
  for (const name of guestModules) await addWithDependencies(name, files, ordered);
  const entries: CpioEntry[] = [];
  for (const folder of ['dev', 'proc', 'sys', 'lower', 'rw', 'newroot', 'modules'])
    entries.push({ name: folder, mode: 0o040755 });
  for (const [name, data] of ordered) entries.push({ name: `modules/${name}.ko`, mode: 0o100644, data });
  const order = [...ordered.keys()].map((name) => `/modules/${name}.ko\n`).join('');
  entries.push({ name: 'modules/order', mode: 0o100644, data: Buffer.from(order) });
  entries.push({ name: 'init', mode: 0o100755, data: await readFile(agentPath) });
  return packCpio(entries);
}

/** Depth first, so that what a module needs is loaded before it. What the kernel has built in has no file and is passed over. */
async function addWithDependencies(
  name: string,
  files: ReadonlyMap<string, string>,
  ordered: Map<string, Buffer>,
): Promise<void> {
  const path = files.get(name);
  if (path === undefined || ordered.has(name)) return;
  const data = await readFile(path);
  for (const dependency of moduleDependencies(data)) await addWithDependencies(dependency, files, ordered);
  ordered.set(name, data);
}

/** Reads `depends=` from a module's .modinfo section, which is a run of NUL-terminated `key=value` texts. */
function moduleDependencies(module: Buffer): string[] {
  const at = module.indexOf('\0depends=');
  if (at < 0) return [];
  const start = at + '\0depends='.length;
  const list = module.toString('latin1', start, module.indexOf(0, start));
  return list === '' ? [] : list.split(',').map(moduleName);
}

const moduleName = (name: string): string => name.replaceAll('-', '_');
