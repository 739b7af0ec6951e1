import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, realpath, rmdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Clock, type Log, newId, type RandomBytes, systemRandom } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { MachinePlace } from './host/machine-folder.ts';
import { MachinePool } from './host/pool.ts';
import type { FaultPoint, Host, SandboxOperation } from './lifecycle/host.ts';
import { recover } from './lifecycle/recovery.ts';
import { Sandboxes } from './sandboxes.ts';
import type { SandboxService } from './service.ts';
import { SandboxFiles } from './store/files.ts';
import { SandboxTable } from './store/sandbox-table.ts';
import { TemplateStore } from './template/store.ts';

export interface SandboxSettings {
  /** Repository folders with the sources of the guest agent and of the RAM shim. */
  readonly sources: { readonly guest: string; readonly native: string };
  /** Where templates are kept: on the file system of the data folder, in which they are unless told. Servers may share it. */
  readonly templatesFolder?: string | undefined;
  /** The Node.js program that templates get. */
  readonly nodePath: string;
  /** First of 4,096 host users that machines run under when the server is root. */
  readonly firstUid: number;
  /** Machines kept ready for each template in use. */
  readonly pool: { readonly least: number; readonly most: number };
  /** Memory tiers to have machines ready for from the start, in MiB. */
  readonly warmTiersMib: readonly number[];
}

export interface SandboxLayerOptions {
  readonly database: Database;
  /** Folder of this layer. */
  readonly folder: string;
  readonly settings: SandboxSettings;
  readonly clock: Clock;
  readonly log: Log;
  readonly random?: RandomBytes;
  readonly observe?: (operation: SandboxOperation) => void;
  /** Called at each named fault point; see `faultPoints`. */
  readonly reach?: (point: FaultPoint) => void;
}

export interface SandboxLayer {
  readonly service: SandboxService;
  readonly templates: TemplateStore;
  /** Number of sandboxes by state, for metrics. */
  counts(): Record<string, number>;
  /** Puts running sandboxes in standby and ends all machines. */
  close(): Promise<void>;
}

const relaxMs = 60_000;

/** Opens the sandboxes of a data folder, after recovering what the server before left. */
export async function openSandboxes(options: SandboxLayerOptions): Promise<SandboxLayer> {
  const { database, clock, log, settings, random = systemRandom } = options;
  const folders = {
    run: join(options.folder, 'run'),
    templates: settings.templatesFolder ?? join(options.folder, 'templates'),
    store: join(options.folder, 'store'),
  };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o755 });
  const marker = `holdfast-${createHash('sha256')
    .update(await realpath(options.folder))
    .digest('hex')
    .slice(0, 12)}`;
  const machines: MachinePlace = { folder: folders.run, runtime: await runtimeFolder(marker, folders.run) };
  await mkdir(machines.runtime, { recursive: true, mode: 0o700 });
  const newMachineId = () => newId('mch');
  const pool = new MachinePool({
    machines,
    firstUid: settings.firstUid,
    ...settings.pool,
    newId: newMachineId,
    log,
    marker,
  });
  const templates = new TemplateStore({
    folder: folders.templates,
    machines,
    sources: settings.sources,
    nodePath: settings.nodePath,
    marker,
    uid: settings.firstUid - 1,
    random,
    now: () => clock.monotonic(),
  });
  const leftovers = new Leftovers(log);
  const host: Host = {
    id: await hostId(options.folder),
    table: new SandboxTable(database),
    files: new SandboxFiles(folders.store),
    templates,
    pool,
    clock,
    random,
    log,
    machines,
    reach: options.reach ?? (() => undefined),
    later: (work) => leftovers.add(work),
    observe: options.observe ?? (() => undefined),
  };
  await host.files.prepare();
  await host.table.registerHost(host.id, hostname());
  const sandboxes = new Sandboxes(host);
  const found = await recover(host, sandboxes, marker);
  if (found.adopted + found.swept > 0)
    log.info('recovered the sandboxes of this host', { adopted: found.adopted, swept: found.swept });
  leftovers.add(warmUp(options, templates, pool, found.frozenKeys));
  const cancel = repeat(clock, () => pool.relax());
  return {
    service: sandboxes,
    templates,
    counts: () => sandboxes.counts(),
    close: async () => {
      cancel();
      await sandboxes.close();
      await pool.close();
      await leftovers.done();
      // Only when empty: a machine that runs on keeps its sockets.
      await rmdir(machines.runtime).catch(() => undefined);
    },
  };
}

/** Work that nobody waits for but the end of the layer. */
class Leftovers {
  readonly #pending = new Set<Promise<void>>();
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add(work: Promise<void>): void {
    const owned = work.catch((error: unknown) => this.#log.warn('a clean-up failed', { error: String(error) }));
    this.#pending.add(owned);
    void owned.then(() => this.#pending.delete(owned));
  }

  async done(): Promise<void> {
    await Promise.all(this.#pending);
  }
}

/** Builds what is missing for the tiers that are wanted from the start, and readies machines for them. */
async function warmUp(
  options: SandboxLayerOptions,
  templates: TemplateStore,
  pool: MachinePool,
  inUse: ReadonlySet<string>,
): Promise<void> {
  for (const memoryMib of options.settings.warmTiersMib) {
    try {
      pool.warm(await templates.frozen('base', memoryMib));
    } catch (error) {
      options.log.error('the base template could not be made ready', { memoryMib, error: String(error) });
    }
  }
  // In a shared folder there may be templates of other servers.
  if (options.settings.templatesFolder === undefined) await templates.prune(inUse);
}

function repeat(clock: Clock, work: () => void): () => void {
  let cancel: () => void = () => undefined;
  const next = () => {
    cancel = clock.after(relaxMs, () => {
      work();
      next();
    });
  };
  next();
  return () => cancel();
}

/**
 * A folder in memory for sockets and what machines hand out: making a file there costs no disk access. The name is public in
 * /dev/shm, so a folder there counts only when it is ours and closed to others; else the data folder serves.
 */
async function runtimeFolder(marker: string, fallback: string): Promise<string> {
  const path = `/dev/shm/${marker}`;
  await mkdir(path, { mode: 0o700 }).catch(() => undefined);
  const found = await lstat(path).catch(() => null);
  const ours = found?.isDirectory() === true && found.uid === process.getuid?.() && (found.mode & 0o077) === 0;
  return ours ? path : `${fallback}-sockets`;
}

/** The id of this host, made once and kept in its data folder. */
async function hostId(folder: string): Promise<string> {
  const path = join(folder, 'host-id');
  const known = await readFile(path, 'utf8').catch(() => '');
  if (known !== '') return known.trim();
  const id = newId('hst');
  await writeFile(path, `${id}\n`, { mode: 0o600, flush: true });
  return id;
}
