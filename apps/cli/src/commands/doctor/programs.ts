import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { broken, type Finding, ok, warning } from './finding.ts';

const run = promisify(execFile);
const versionTimeoutMs = 10_000;

/** What is run, and the Debian package that has it. */
const programs: readonly (readonly [program: string, debianPackage: string])[] = [
  ['qemu-system-x86_64', 'qemu-system-x86'],
  ['qemu-img', 'qemu-utils'],
  ['mkfs.erofs', 'erofs-utils'],
  ['mmdebstrap', 'mmdebstrap'],
  ['bwrap', 'bubblewrap'],
  ['gcc', 'gcc'],
  ['make', 'make'],
  ['mkfs.ext4', 'e2fsprogs'],
  ['setpriv', 'util-linux'],
  ['zstd', 'zstd'],
  ['git', 'git'],
  ['curl', 'curl'],
];

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

const checkNode = (): Finding => {
  const major = Number(process.versions.node.split('.')[0]);
  const detail = `${process.versions.node} at ${process.execPath}`;
  return major >= 24 ? ok('node', detail) : broken('node', detail, 'Start through ./holdfast, which brings Node 24.');
};

const checkPrograms = (path: string): Finding => {
  const folders = path.split(delimiter);
  const missing = programs.filter(([program]) => !folders.some((folder) => isExecutable(join(folder, program))));
  if (missing.length === 0) return ok('packages', `all ${programs.length} programs are there`);
  const names = missing.map(([program, debianPackage]) => `${program} (${debianPackage})`);
  return broken('packages', `missing: ${names.join(', ')}`, 'Run ./holdfast up: it installs them where there is apt.');
};

/** `7.2.22` out of what QEMU prints, null when it does not run. */
export const qemuVersion = async (): Promise<string | null> => {
  try {
    const { stdout } = await run('qemu-system-x86_64', ['--version'], { timeout: versionTimeoutMs });
    return /version (\d+\.\d+(?:\.\d+)?)/.exec(stdout)?.[1] ?? null;
  } catch {
    return null;
  }
};

/** From 8.2 on QEMU can map a template's RAM file without being able to write it (`readonly=on,rom=off`). */
export const checkQemu = (version: string | null): Finding => {
  if (version === null) return broken('qemu', 'qemu-system-x86_64 does not run', 'Install qemu-system-x86.');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 8 || (major === 8 && minor >= 2)) return ok('qemu', version);
  return warning(
    'qemu',
    `${version}: older than 8.2, so QEMU itself would open the template's RAM file read-write. What guards that file: it ` +
      "is mounted read-only in QEMU's own file system view, QEMU's user may not write it, and a preloaded library turns " +
      'that open into a read-only one',
    'Use QEMU 8.2 or newer, in Debian 12 from backports.',
  );
};

export const checkInstalled = async (path: string): Promise<Finding[]> => [
  checkNode(),
  checkPrograms(path),
  checkQemu(await qemuVersion()),
];
