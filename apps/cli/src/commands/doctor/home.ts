import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatBytes } from '../../output.ts';
import { broken, type Finding, ok, warning } from './finding.ts';

const gib = 1_073_741_824;
/** A template with its RAM takes about 1 GiB; each sandbox adds what it changes. */
const leastBytes = 2 * gib;
const comfortableBytes = 10 * gib;

/** `f_type` of statfs(2). */
const fileSystems = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x2fc12fc1, 'zfs'],
  [0xf2f52010, 'f2fs'],
  [0x794c7630, 'overlayfs'],
  [0x01021994, 'tmpfs'],
  [0x6969, 'nfs'],
  [0x01021997, '9p'],
  [0x65735546, 'fuse'],
]);
const forgetful = ['tmpfs'];
const remote = ['nfs', '9p', 'fuse'];

const nearestExisting = async (path: string): Promise<string> => {
  let at = path;
  for (;;) {
    const found = await stat(at).catch(() => null);
    if (found !== null || dirname(at) === at) return at;
    at = dirname(at);
  }
};

const checkAccess = async (home: string, at: string): Promise<Finding> => {
  const found = await stat(at);
  if (!found.isDirectory()) return broken('data folder', `${at} is not a directory`, 'Choose another HOLDFAST_HOME.');
  const user = process.getuid?.();
  if (at === home && user !== undefined && found.uid !== user) {
    const detail = `${home} belongs to user ${found.uid}, this is user ${user}`;
    return broken('data folder', detail, 'Run as its owner, or choose another HOLDFAST_HOME.');
  }
  try {
    await access(at, constants.W_OK | constants.X_OK);
  } catch {
    return broken(
      'data folder',
      `${at} cannot be written`,
      'Correct its owner or mount, or choose another HOLDFAST_HOME.',
    );
  }
  return ok('data folder', at === home ? home : `${home} (made on first use)`);
};

const checkSpace = async (at: string): Promise<Finding[]> => {
  const { bavail, bsize, type } = await statfs(at);
  const free = bavail * bsize;
  const space = `${formatBytes(free)} free`;
  const name = fileSystems.get(type) ?? `type 0x${type.toString(16)}`;
  const help = 'Free some, or choose a HOLDFAST_HOME on a larger disk.';
  return [
    free < leastBytes
      ? broken('disk space', space, help)
      : free < comfortableBytes
        ? warning('disk space', space, help)
        : ok('disk space', space),
    forgetful.includes(name)
      ? warning('file system', `${name}: everything is lost on reboot`, 'Choose a HOLDFAST_HOME on a disk.')
      : remote.includes(name)
        ? warning('file system', `${name}: not tested, durability depends on the server`, 'Choose a local disk.')
        : ok('file system', name),
  ];
};

/** The data folder, or the place where it will be made. */
export const checkHome = async (home: string): Promise<Finding[]> => {
  const at = await nearestExisting(home);
  return [await checkAccess(home, at), ...(await checkSpace(at))];
};
