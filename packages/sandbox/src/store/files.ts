import { chmod, chown, mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { newId } from '@holdfast/core';
import type { FrozenTemplate } from '../template/store.ts';

const blockBytes = 4_096;
const asRoot = process.getuid?.() === 0;

/** Files of one sandbox, by id; several sandboxes can share what none of them writes any more. */
export interface FileReferences {
  readonly diskChain: readonly string[];
  readonly ramChain: readonly string[];
  readonly snapshotId: string | null;
}

/**
 * The files that sandboxes are kept in: `disks/` (qcow2 layers), `rams/` (sparse RAM layers) and `snapshots/` (RAM index and device
 * state of one standby). A file is written by at most one sandbox, the one that has it as the top of its chain,
 * and removed when the last sandbox that names it is gone.
 */
export class SandboxFiles {
  readonly #root: string;
  readonly #references = new Map<string, number>();

  constructor(root: string) {
    this.#root = root;
  }

  async prepare(): Promise<void> {
    for (const folder of ['disks', 'rams', 'snapshots'])
      await mkdir(join(this.#root, folder), { recursive: true, mode: 0o700 });
  }

  disk = (id: string): string => join(this.#root, 'disks', `${id}.qcow2`);
  ram = (id: string): string => join(this.#root, 'rams', `${id}.ram`);
  snapshot = (id: string): string => join(this.#root, 'snapshots', `${id}.snapshot`);

  /** A new empty disk layer, durable. Gives its id. */
  async createDisk(template: FrozenTemplate): Promise<string> {
    const id = newId('dsk');
    const file = await open(this.disk(id), 'wx', 0o644);
    try {
      for (let at = 0; at < template.emptyLayer.length; at += blockBytes) {
        const block = template.emptyLayer.subarray(at, at + blockBytes);
        if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at);
      }
      await file.truncate(template.emptyLayer.length);
      await file.datasync();
    } finally {
      await file.close();
    }
    return id;
  }

  /** A new empty RAM layer. Gives its id. */
  async createRam(): Promise<string> {
    const id = newId('ram');
    await (await open(this.ram(id), 'wx', 0o644)).close();
    return id;
  }

  /** Writes a snapshot, durably. */
  async writeSnapshot(id: string, bytes: Uint8Array): Promise<void> {
    const file = await open(this.snapshot(id), 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await Promise.all([file.datasync(), this.syncFolder('snapshots')]);
    } finally {
      await file.close();
    }
  }

  /** Makes what was written into a RAM layer durable. */
  async syncRam(id: string, { isNew }: { isNew: boolean }): Promise<void> {
    const file = await open(this.ram(id), 'r+');
    try {
      await Promise.all([file.datasync(), isNew ? this.syncFolder('rams') : null]);
    } finally {
      await file.close();
    }
  }

  async syncFolder(name: 'disks' | 'rams' | 'snapshots'): Promise<void> {
    const folder = await open(join(this.#root, name));
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  /** Takes a file back from a machine's user for good: from now on it is shared and read only. */
  async share(path: string): Promise<void> {
    if (asRoot) await chown(path, 0, 0);
    await chmod(path, 0o444);
  }

  /** Whether only one sandbox names the file, so that it may be written in place. */
  isExclusive(id: string): boolean {
    return (this.#references.get(id) ?? 0) <= 1;
  }

  hold(references: FileReferences): void {
    for (const id of names(references)) this.#references.set(id, (this.#references.get(id) ?? 0) + 1);
  }

  /** Releases what one sandbox named, and removes the files that none names any more. */
  async release(references: FileReferences): Promise<void> {
    for (const id of names(references)) {
      const left = (this.#references.get(id) ?? 1) - 1;
      if (left > 0) this.#references.set(id, left);
      else {
        this.#references.delete(id);
        await this.#remove(id);
      }
    }
  }

  /** Removes those of these files that no sandbox names: what was made for something that then failed. */
  async discard(ids: readonly string[]): Promise<void> {
    for (const id of ids) if (!this.#references.has(id)) await this.#remove(id);
  }

  /** Exchanges the references of a sandbox: what it no longer names may go. */
  async exchange(before: FileReferences, after: FileReferences): Promise<void> {
    this.hold(after);
    await this.release(before);
  }

  /** Removes files that no sandbox names, such as a crash leaves behind. Gives how many. */
  async sweep(): Promise<number> {
    let removed = 0;
    for (const folder of ['disks', 'rams', 'snapshots']) {
      for (const entry of await readdir(join(this.#root, folder))) {
        if (this.#references.has(entry.slice(0, entry.indexOf('.')))) continue;
        await rm(join(this.#root, folder, entry), { force: true });
        removed++;
      }
    }
    return removed;
  }

  /** Bytes on disk that belong to this sandbox alone. */
  async storedBytes(references: FileReferences): Promise<number> {
    const paths: string[] = [];
    for (const id of names(references)) if (this.isExclusive(id)) paths.push(...this.#paths(id));
    const sizes = await Promise.all(
      paths.map((path) =>
        stat(path).then(
          (found) => found.blocks * 512,
          () => 0,
        ),
      ),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async #remove(id: string): Promise<void> {
    for (const path of this.#paths(id)) await rm(path, { force: true });
  }

  #paths(id: string): string[] {
    if (id.startsWith('dsk_')) return [this.disk(id)];
    if (id.startsWith('ram_')) return [this.ram(id)];
    return [this.snapshot(id)];
  }
}

const names = (references: FileReferences): string[] => [
  ...references.diskChain,
  ...references.ramChain,
  ...(references.snapshotId === null ? [] : [references.snapshotId]),
];
