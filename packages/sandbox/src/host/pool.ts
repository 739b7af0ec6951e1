import { freemem } from 'node:os';
import { join } from 'node:path';
import type { Log } from '@holdfast/core';
import type { FrozenTemplate } from '../template/store.ts';
import { Machine } from './machine.ts';
import type { MachinePlace } from './machine-folder.ts';

export interface PoolOptions {
  /** Folders of all machines. */
  readonly machines: MachinePlace;
  /** First of the host users that machines run under, one each. */
  readonly firstUid: number;
  /** Machines kept ready for a template in use, at the least and at the most. */
  readonly least: number;
  readonly most: number;
  readonly newId: () => string;
  readonly log: Log;
  /** Marks this data folder's processes. */
  readonly marker: string;
}

/** What an idle machine takes of the host's memory, measured as PSS, in bytes. */
const idleMachineBytes = 40 * 1_048_576;
const uidSlots = 4_096;

interface Shelf {
  readonly template: FrozenTemplate;
  readonly ready: Machine[];
  starting: number;
  /** How many are kept ready now; doubles when demand finds the shelf empty and shrinks when it stays full. */
  wanted: number;
  taken: number;
}

/** Keeps empty machines ready for the templates in use, so that nothing waits for a QEMU process to start. */
export class MachinePool {
  readonly #options: PoolOptions;
  readonly #shelves = new Map<string, Shelf>();
  readonly #uids = new Set<number>();
  #busy = 0;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** An empty machine for this template, at once when one stands ready. */
  async take(template: FrozenTemplate): Promise<Machine> {
    const shelf = this.#shelf(template);
    shelf.taken++;
    const machine = shelf.ready.shift();
    if (machine !== undefined) return machine;
    shelf.wanted = Math.min(this.#options.most, shelf.wanted * 2);
    return this.#start(template, 'incoming');
  }

  /** A machine that boots a kernel instead of taking over state. */
  boot(template: FrozenTemplate): Promise<Machine> {
    return this.#start(template, 'boot');
  }

  /** Work that new machines should not slow down has begun; call what it returns at its end. */
  hold(): () => void {
    this.#busy++;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#busy--;
      if (this.#busy === 0) setImmediate(() => this.#refillAll());
    };
  }

  /** Starts to keep machines ready for a template. */
  warm(template: FrozenTemplate): void {
    this.#shelf(template);
    this.#refillAll();
  }

  /** Lets shelves shrink that saw no demand since the last call. */
  relax(): void {
    for (const shelf of this.#shelves.values()) {
      if (shelf.taken === 0) shelf.wanted = Math.max(this.#options.least, Math.floor(shelf.wanted / 2));
      shelf.taken = 0;
      while (shelf.ready.length > shelf.wanted) void shelf.ready.pop()?.destroy();
    }
  }

  get readyCount(): number {
    return [...this.#shelves.values()].reduce((sum, shelf) => sum + shelf.ready.length, 0);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const machines = [...this.#shelves.values()].flatMap((shelf) => shelf.ready.splice(0));
    await Promise.all(machines.map((machine) => machine.destroy()));
  }

  /** Marks the user of an adopted machine as taken. */
  reserveUid(uid: number): void {
    this.#uids.add(uid);
  }

  #shelf(template: FrozenTemplate): Shelf {
    const before = this.#shelves.get(template.key);
    if (before !== undefined) return before;
    const shelf = { template, ready: [], starting: 0, wanted: this.#options.least, taken: 0 };
    this.#shelves.set(template.key, shelf);
    return shelf;
  }

  #refillAll(): void {
    for (const shelf of this.#shelves.values()) void this.#refill(shelf);
  }

  async #refill(shelf: Shelf): Promise<void> {
    while (this.#wants(shelf)) {
      shelf.starting++;
      try {
        const machine = await this.#start(shelf.template, 'incoming');
        if (this.#closed) await machine.destroy();
        else this.#shelve(shelf, machine);
      } catch (error) {
        this.#options.log.error('a machine for the pool did not start', { error: String(error) });
        return;
      } finally {
        shelf.starting--;
      }
    }
  }

  /** One start at a time, none while others wait for the processor, and no more than memory allows. */
  #wants(shelf: Shelf): boolean {
    if (this.#closed || this.#busy > 0 || shelf.starting > 0) return false;
    return shelf.ready.length < shelf.wanted && freemem() > 4 * idleMachineBytes;
  }

  #shelve(shelf: Shelf, machine: Machine): void {
    shelf.ready.push(machine);
    void machine.exited.then(() => {
      const at = shelf.ready.indexOf(machine);
      if (at < 0) return;
      shelf.ready.splice(at, 1);
      this.#options.log.warn('a machine of the pool ended by itself', { machine: machine.id });
      void machine.destroy();
    });
  }

  async #start(template: FrozenTemplate, start: 'incoming' | 'boot'): Promise<Machine> {
    const id = this.#options.newId();
    const uid = this.#freeUid();
    this.#uids.add(uid);
    const machine = Machine.start(id, {
      place: { folder: join(this.#options.machines.folder, id), runtime: join(this.#options.machines.runtime, id) },
      templateFolder: template.templateFolder,
      frozenFolder: template.folder,
      frozenKey: template.key,
      nativeFolder: template.native.folder,
      shimFile: template.native.shimFile,
      uid,
      shape: template.shape,
      accelerator: template.accelerator,
      start,
      ram: 'private',
      diskSizeBytes: template.diskMib * 1_048_576,
      name: `${this.#options.marker}-${id}`,
    });
    const release = () => this.#uids.delete(uid);
    machine.then((started) => started.exited.then(release), release);
    return machine;
  }

  #freeUid(): number {
    for (let uid = this.#options.firstUid; uid < this.#options.firstUid + uidSlots; uid++) {
      if (!this.#uids.has(uid)) return uid;
    }
    return this.#options.firstUid;
  }
}
