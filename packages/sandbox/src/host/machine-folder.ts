import type { FileHandle } from 'node:fs/promises';
import { chmod, chown, link, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
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

/** Where a machine's two folders are made. */
export interface MachinePlace {
  /** In the data folder, on the file system of what is lent: `/machine` in the jail. */
  readonly folder: string;
  /** In memory: `/runtime` in the jail. */
  readonly runtime: string;
}

/**
 * The folders of one machine: hard links to the files of the sandbox that moved in, and, in memory, its sockets and what it hands out.
 * Sockets are reached through the open folder, as unix socket paths are short (108 bytes) and data folders need not be.
 */
export class MachineFolder {
  readonly path: string;
  readonly runtime: string;
  readonly #handle: FileHandle;
  readonly #owner: number | null;

  private constructor(place: MachinePlace, handle: FileHandle, owner: number | null) {
    this.path = place.folder;
    this.runtime = place.runtime;
    this.#handle = handle;
    this.#owner = owner;
  }

  /** `owner` is the user to own them, or null to leave them with the server's. */
  static async create(place: MachinePlace, owner: number | null): Promise<MachineFolder> {
    for (const path of [place.folder, place.runtime]) {
      await mkdir(path, { recursive: true, mode: 0o711 });
      if (owner !== null) await chown(path, owner, owner);
    }
    return new MachineFolder(place, await open(place.runtime), owner);
  }

  static async reopen(place: MachinePlace): Promise<MachineFolder> {
    const { uid } = await stat(place.folder);
    return new MachineFolder(place, await open(place.runtime), uid === process.getuid?.() ? null : uid);
  }

  /** A path to connect to, valid while this folder is open. */
  socketPath(name: string): string {
    return `/proc/self/fd/${this.#handle.fd}/${name}`;
  }

  /** Makes a file of the sandbox visible to the machine; a writable one is handed over to its user. */
  async lend(file: string, name: string, writable: boolean): Promise<void> {
    const steps = [link(file, join(this.path, name))];
    if (writable && this.#owner !== null) steps.push(chown(file, this.#owner, this.#owner));
    // It may have been made read only for a fork that then failed, or whose forks are all gone.
    if (writable) steps.push(chmod(file, 0o644));
    await Promise.all(steps);
  }

  /** How many files were lent so far, by the highest number in their names. */
  async countLent(): Promise<number> {
    const numbers = (await readdir(this.path)).map((name) => Number(/^lent-(\d+)$/.exec(name)?.[1] ?? -1));
    return Math.max(-1, ...numbers) + 1;
  }

  /** Whether a lent name is this file. */
  async isLent(name: string, file: string): Promise<boolean> {
    const [lent, own] = await Promise.all([stat(join(this.path, name)), stat(file)]).catch(() => [null, null]);
    return lent !== null && own !== null && lent.ino === own.ino && lent.dev === own.dev;
  }

  async writeRecord(record: MachineRecord): Promise<void> {
    await writeFile(`${this.path}.json`, JSON.stringify(record), { mode: 0o600 });
  }

  async remove(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.runtime, { recursive: true, force: true });
    await rm(this.path, { recursive: true, force: true });
    await rm(`${this.path}.json`, { force: true });
  }

  async close(): Promise<void> {
    await this.#handle.close();
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
    // A zombie with threads left still has its files open; without, only its parent has yet to take note.
    return fields[0] === 'Z' && Number(fields[17]) <= 1 ? null : (fields[19] ?? null);
  } catch {
    return null;
  }
}
