import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../host/command.ts';

/** The two programs of ours that are compiled on the host: the guest agent, and the RAM shim that QEMU loads. */
export interface NativeParts {
  readonly folder: string;
  readonly agentPath: string;
  readonly shimFile: string;
  /** Checksum of the agent's sources. */
  readonly agentKey: string;
}

const agentFile = 'holdfast-agent';
const shimFile = 'holdfast-ramshim.so';

/** Compiles what is not there for exactly these sources. `sources` holds the repository's `guest` and `native` folders. */
export async function buildNative(output: string, sources: { guest: string; native: string }): Promise<NativeParts> {
  const [agentKey, shimKey] = await Promise.all([sourceKey(join(sources.guest, 'agent')), sourceKey(sources.native)]);
  const folder = join(output, `${agentKey}-${shimKey}`);
  const parts = { folder, agentPath: join(folder, agentFile), shimFile, agentKey };
  if (await isFile(join(folder, shimFile))) return parts;
  const work = `${folder}.${process.pid}.partial`;
  await mkdir(work, { recursive: true, mode: 0o755 });
  await runCommand('make', ['-s', '-C', sources.guest, `OUT=${work}/agent`], { timeoutMs: 300_000 });
  await runCommand('make', ['-s', '-C', sources.native, `OUT=${work}/shim`], { timeoutMs: 300_000 });
  await rm(folder, { recursive: true, force: true });
  const sealed = `${work}.sealed`;
  await mkdir(sealed, { recursive: true, mode: 0o755 });
  await copyFile(join(work, 'agent', agentFile), join(sealed, agentFile));
  await copyFile(join(work, 'shim', shimFile), join(sealed, shimFile));
  await rename(sealed, folder);
  await rm(work, { recursive: true });
  return parts;
}

async function sourceKey(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const names = (await readdir(folder)).filter((name) => /\.(c|h)$|^Makefile$/.test(name)).sort();
  for (const name of names) hash.update(name).update(await readFile(join(folder, name)));
  return hash.digest('hex').slice(0, 12);
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
