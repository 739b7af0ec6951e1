import type { FileHandle } from 'node:fs/promises';
import { chown, link, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

const machineRecord = z.object({
  pid: z.number().int().positive(),
  /** Field 22 of /proc/PID/stat: tells a process from a later one with the same number. */
  startTime: z.string(),
  uid: z.number().int(),
  frozenKey: z.string(),
});

export type MachineRecord = z.output<typeof machineRecord>;

/**
 * The folder that one machine sees as /machine: its sockets, and hard links to the files of the sandbox that moved in.
 * Sockets are reached through the open folder, as unix socket paths are short (108 bytes) and data folders need not be.
 */
export class MachineFolder {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #owner: number | null;

  private constructor(path: string, handle: FileHandle, owner: number | null) {
    this.path = path;
    this.#handle = handle;
    this.#owner = owner;
  }

  /** `owner` is the user to own it, or null to leave it with the server's. */
  static async create(path: string, owner: number | null): Promise<MachineFolder> {
    await mkdir(path, { recursive: true, mode: 0o711 });
    if (owner !== null) await chown(path, owner, owner);
    return new MachineFolder(path, await open(path), owner);
  }

  static async reopen(path: string): Promise<MachineFolder> {
    const { uid } = await stat(path);
    return new MachineFolder(path, await open(path), uid === process.getuid?.() ? null : uid);
  }

  /** A path to connect to, valid while this folder is open. */
  socketPath(name: string): string {
    return `/proc/self/fd/${this.#handle.fd}/${name}`;
  }

  /** Makes a file of the sandbox visible to the machine; a writable one is handed over to its user. */
  async lend(file: string, name: string, writable: boolean): Promise<void> {
    if (writable && this.#owner !== null) await chown(file, this.#owner, this.#owner);
    await link(file, join(this.path, name));
  }

  /** Whether a lent name is this file. */
  async isLent(name: string, file: string): Promise<boolean> {
    const [lent, own] = await Promise.all([stat(join(this.path, name)), stat(file)]).catch(() => [null, null]);
    return lent !== null && own !== null && lent.ino === own.ino && lent.dev === own.dev;
  }

  async writeRecord(record: MachineRecord): Promise<void> {
    await writeFile(join(this.path, '..', `${this.#name()}.json`), JSON.stringify(record), { mode: 0o600 });
  }

  async remove(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.path, { recursive: true, force: true });
    await rm(`${this.path}.json`, { force: true });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  #name(): string {
    return this.path.slice(this.path.lastIndexOf('/') + 1);
  }
}

/** The record beside a machine's folder, or null when there is none that can be used. */
export async function readMachineRecord(folder: string): Promise<MachineRecord | null> {
  try {
    return machineRecord.parse(JSON.parse(await readFile(`${folder}.json`, 'utf8')));
  } catch {
    return null;
  }
}

/** Start time of a living process, or null. */
export async function processStartTime(pid: number): Promise<string | null> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
