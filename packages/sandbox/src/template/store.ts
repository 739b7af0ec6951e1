import { createHash } from 'node:crypto';
import { chmod, link, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { tryLock } from '@holdfast/db';
import type { AcceleratorReport } from '../host/accelerator.ts';
import { probeAccelerator } from '../host/accelerator.ts';
import type { MachinePlace } from '../host/machine-folder.ts';
import type { MachineShape } from '../host/qemu-arguments.ts';
import { freezeTemplate, frozenFiles } from './freeze.ts';
import { buildKernel } from './kernel.ts';
import { buildNative, type NativeParts } from './native.ts';
import { baseRecipe, recipeKey, type TemplateRecipe } from './recipe.ts';
import { buildRootfs } from './rootfs.ts';

const lockPollMs = 200;

/** A template that sandboxes can be made of: its files, and the machine they were frozen on. */
export interface FrozenTemplate {
  readonly key: string;
  readonly name: string;
  readonly shape: MachineShape;
  readonly diskMib: number;
  readonly templateFolder: string;
  readonly folder: string;
  readonly accelerator: AcceleratorReport;
  readonly native: NativeParts;
  /** Device state, small, kept in memory. */
  readonly state: Uint8Array;
  /** The bytes of an empty disk layer of its size. */
  readonly emptyLayer: Uint8Array;
}

export interface TemplateProgress {
  /** What is being done, in words for a person. */
  readonly step: string;
  /** From 0 to 1 over the whole build. */
  readonly fraction: number;
}

export interface TemplateStatus {
  readonly name: string;
  readonly state: 'absent' | 'building' | 'ready' | 'failed';
  readonly progress: TemplateProgress | null;
  readonly error: string | null;
  /** Memory tiers frozen so far, in MiB. */
  readonly tiersMib: readonly number[];
}

export interface TemplateStoreOptions {
  /** Folder of all templates. */
  readonly folder: string;
  /** Folders for the machines that templates are frozen on. */
  readonly machines: MachinePlace;
  readonly sources: { readonly guest: string; readonly native: string };
  readonly nodePath: string;
  /** Begins the name of each QEMU process, so that one left by a crash is known for what it is. */
  readonly marker: string;
  readonly uid: number;
  readonly random: (bytes: number) => Uint8Array;
  readonly now: () => number;
  readonly recipes?: readonly TemplateRecipe[];
}

/** One CPU up to 1 GiB, two up to 4 GiB, four above. */
export const vcpusFor = (memoryMib: number): number => (memoryMib <= 1024 ? 1 : memoryMib <= 4096 ? 2 : 4);

interface Built {
  readonly recipe: TemplateRecipe;
  readonly key: string;
  readonly folder: string;
  readonly native: NativeParts;
  readonly accelerator: AcceleratorReport;
}

/** Builds templates on first use, keeps them by the checksum of what they are made of, and freezes each memory tier once. */
export class TemplateStore {
  readonly #options: TemplateStoreOptions;
  readonly #recipes: ReadonlyMap<string, TemplateRecipe>;
  readonly #built = new Map<string, Promise<Built>>();
  readonly #frozen = new Map<string, Promise<FrozenTemplate>>();
  readonly #loaded = new Map<string, Promise<FrozenTemplate>>();
  readonly #progress = new Map<string, TemplateProgress>();
  readonly #errors = new Map<string, string>();
  #native: Promise<NativeParts> | null = null;

  constructor(options: TemplateStoreOptions) {
    this.#options = options;
    this.#recipes = new Map((options.recipes ?? [baseRecipe]).map((recipe) => [recipe.name, recipe]));
  }

  /** The frozen template of a name and memory tier, built when it is not there. Throws `template.not_found`. */
  frozen(name: string, memoryMib: number): Promise<FrozenTemplate> {
    const recipe = this.#recipe(name);
    return once(this.#frozen, `${name}/${memoryMib}`, () => this.#freeze(recipe, memoryMib));
  }

  /** The frozen template that a sandbox was made of, even when its recipe has changed since. Throws `template.lost`. */
  byKey(key: string): Promise<FrozenTemplate> {
    return once(this.#loaded, key, () => this.#load(key));
  }

  async #load(key: string): Promise<FrozenTemplate> {
    const match = /^([a-z0-9][a-z0-9._-]*-[0-9a-f]{16})@([a-z0-9-]+)-(\d+)$/.exec(key);
    const [, built = '', , memory = '0'] = match ?? [];
    const folder = join(this.#options.folder, built);
    const frozen = join(folder, frozenName(key));
    if (match === null || !(await exists(join(frozen, frozenFiles.ready)))) {
      throw new HoldfastError('template.lost', `The frozen template ${key} is not on this host any more.`);
    }
    const native = await this.#nativeParts();
    const accelerator = await this.#accelerator(folder);
    const disk = await stat(join(frozen, frozenFiles.disk));
    return loadFrozen({
      key,
      name: built.slice(0, -17),
      folder,
      frozen,
      memoryMib: Number(memory),
      diskMib: disk.size / 1_048_576,
      native,
      accelerator,
    });
  }

  /** Fetches the kernel if need be, and tells which accelerator can run a guest. */
  async probe(): Promise<AcceleratorReport> {
    const recipe = this.#recipe('base');
    return (await this.#alone(recipe, () => this.#build(recipe, 'kernel'))).accelerator;
  }

  async status(name: string): Promise<TemplateStatus> {
    const recipe = this.#recipe(name);
    const progress = this.#progress.get(name) ?? null;
    const error = this.#errors.get(name) ?? null;
    const folder = join(this.#options.folder, await this.#keyOf(recipe));
    const tiersMib: number[] = [];
    for (const entry of await readdir(folder).catch(() => [])) {
      const tier = /^frozen-.*-(\d+)$/.exec(entry)?.[1];
      if (tier !== undefined && (await exists(join(folder, entry, frozenFiles.ready)))) tiersMib.push(Number(tier));
    }
    const idle = tiersMib.length > 0 ? 'ready' : error === null ? 'absent' : 'failed';
    return {
      name,
      state: progress === null ? idle : 'building',
      progress,
      error,
      tiersMib: tiersMib.sort((a, b) => a - b),
    };
  }

  names(): string[] {
    return [...this.#recipes.keys()];
  }

  #recipe(name: string): TemplateRecipe {
    const recipe = this.#recipes.get(name);
    if (recipe === undefined)
      throw new HoldfastError('template.not_found', `There is no template ${name}.`, { known: this.names() });
    return recipe;
  }

  #nativeParts(): Promise<NativeParts> {
    this.#native ??= buildNative(join(this.#options.folder, 'native'), this.#options.sources).catch(
      (error: unknown) => {
        this.#native = null;
        throw error;
      },
    );
    return this.#native;
  }

  async #keyOf(recipe: TemplateRecipe): Promise<string> {
    const native = await this.#nativeParts();
    return recipeKey(recipe, [native.agentKey, process.version, process.arch]);
  }

  async #freeze(recipe: TemplateRecipe, memoryMib: number): Promise<FrozenTemplate> {
    try {
      const built = await once(this.#built, recipe.name, () => this.#alone(recipe, () => this.#build(recipe, 'all')));
      const key = frozenKey(built, memoryMib);
      const frozen = join(built.folder, frozenName(key));
      const isThere = () => exists(join(frozen, frozenFiles.ready));
      if (!(await isThere()))
        await this.#alone(recipe, async () => {
          if (!(await isThere())) await this.#freezeTier(built, key, frozen, memoryMib);
        });
      this.#errors.delete(recipe.name);
      const { accelerator, native, folder } = built;
      return await loadFrozen({
        key,
        name: recipe.name,
        folder,
        frozen,
        memoryMib,
        diskMib: recipe.diskMib,
        native,
        accelerator,
      });
    } catch (error) {
      this.#errors.set(recipe.name, error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      this.#progress.delete(recipe.name);
    }
  }

  /** Servers may share the folder: one of them builds, the others wait and find it done. The lock ends with its process. */
  async #alone<T>(recipe: TemplateRecipe, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const lock = await tryLock(this.#options.folder, `template-${recipe.name}`);
      if (lock === null) await new Promise((resolve) => setTimeout(resolve, lockPollMs));
      else {
        try {
          return await work();
        } finally {
          await lock.release();
        }
      }
    }
  }

  async #freezeTier(built: Built, key: string, output: string, memoryMib: number): Promise<void> {
    const { recipe, accelerator, native } = built;
    const { random, uid, machines, marker } = this.#options;
    const name = `freeze-${memoryMib}-${process.pid}`;
    await freezeTemplate({
      templateFolder: built.folder,
      native,
      place: { folder: join(machines.folder, name), runtime: join(machines.runtime, name) },
      output,
      name: `${marker}-${name}`,
      key,
      shape: { memoryMib, vcpus: vcpusFor(memoryMib) },
      diskMib: recipe.diskMib,
      accelerator,
      uid,
      warmUp: recipe.warmUp,
      random,
      onProgress: (fraction) => this.#report(recipe.name, `boot and freeze ${memoryMib} MiB`, 0.7 + 0.3 * fraction),
    });
  }

  async #build(recipe: TemplateRecipe, parts: 'kernel' | 'all'): Promise<Built> {
    this.#report(recipe.name, 'compile the guest agent', 0.01);
    const native = await this.#nativeParts();
    const key = await this.#keyOf(recipe);
    const folder = join(this.#options.folder, key);
    await mkdir(folder, { recursive: true, mode: 0o755 });
    if (!(await exists(join(folder, 'initramfs.cpio')))) {
      this.#report(recipe.name, 'fetch the guest kernel', 0.03);
      await buildKernel(folder, native.agentPath);
    }
    this.#report(recipe.name, 'find out whether KVM can run a guest', 0.08);
    const accelerator = await this.#accelerator(folder);
    if (parts === 'all' && !(await exists(join(folder, 'root.erofs')))) {
      await link(await this.#rootfs(recipe), join(folder, 'root.erofs'));
    }
    if (parts === 'kernel') this.#progress.delete(recipe.name);
    return { recipe, key, folder, native, accelerator };
  }

  /** The root file system of a recipe, which several templates share: it does not change with the guest agent. */
  async #rootfs(recipe: TemplateRecipe): Promise<string> {
    const folder = join(this.#options.folder, 'roots');
    const path = join(folder, `${recipeKey(recipe, [process.version, process.arch])}.erofs`);
    if (await exists(path)) return path;
    await mkdir(folder, { recursive: true, mode: 0o755 });
    const partial = `${path}.${process.pid}.partial`;
    await buildRootfs(recipe, partial, this.#options.nodePath, (fraction) =>
      this.#report(recipe.name, 'build the root file system', 0.1 + 0.6 * fraction),
    );
    await chmod(partial, 0o444);
    await rename(partial, path);
    return path;
  }

  #accelerator(folder: string): Promise<AcceleratorReport> {
    return probeAccelerator(join(folder, 'vmlinuz'), this.#options.folder, this.#options.now);
  }

  #report(name: string, step: string, fraction: number): void {
    this.#progress.set(name, { step, fraction });
  }

  /** Removes templates that no recipe and none of `inUse` (frozen keys) names. */
  async prune(inUse: ReadonlySet<string>): Promise<void> {
    const keep = new Set([...inUse].map((key) => key.slice(0, key.indexOf('@'))));
    for (const recipe of this.#recipes.values()) keep.add(await this.#keyOf(recipe));
    for (const entry of await readdir(this.#options.folder)) {
      if (/-[0-9a-f]{16}$/.test(entry) && !keep.has(entry)) {
        await rm(join(this.#options.folder, entry), { recursive: true, force: true });
      }
    }
    const roots = join(this.#options.folder, 'roots');
    for (const entry of await readdir(roots).catch(() => [])) {
      const { nlink } = await stat(join(roots, entry));
      if (nlink === 1) await rm(join(roots, entry));
    }
  }
}

/** State can be loaded only by the same QEMU on a like CPU, so both are part of the key. */
function frozenKey(built: Built, memoryMib: number): string {
  const { accelerator, qemuVersion, cpuModel } = built.accelerator;
  const machine = createHash('sha256').update(`${qemuVersion}/${cpuModel}`).digest('hex').slice(0, 8);
  return `${built.key}@${accelerator}-${machine}-${memoryMib}`;
}

const frozenName = (key: string): string => `frozen-${key.slice(key.indexOf('@') + 1)}`;

async function loadFrozen(from: {
  key: string;
  name: string;
  folder: string;
  frozen: string;
  memoryMib: number;
  diskMib: number;
  native: NativeParts;
  accelerator: AcceleratorReport;
}): Promise<FrozenTemplate> {
  const { key, name, memoryMib, diskMib, native, accelerator } = from;
  const state = await readFile(join(from.frozen, frozenFiles.state));
  const emptyLayer = await readFile(join(from.frozen, frozenFiles.emptyLayer));
  const shape = { memoryMib, vcpus: vcpusFor(memoryMib) };
  return {
    key,
    name,
    shape,
    diskMib,
    templateFolder: from.folder,
    folder: from.frozen,
    accelerator,
    native,
    state,
    emptyLayer,
  };
}

/** Runs `make` at most once for a key at a time; a failure is forgotten, so that the next call tries again. */
function once<T>(running: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const before = running.get(key);
  if (before !== undefined) return before;
  const promise = make();
  running.set(key, promise);
  promise.catch(() => running.delete(key));
  return promise;
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
