import { closeSync, constants, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { type RamLoaded, RamShim } from '../ram/index.ts';
import { asRoot, killProcess, spawnJailed, untilGone, untilThere } from './jailed-process.ts';
import { MachineFolder, type MachinePlace, type MachineRecord, processStartTime } from './machine-folder.ts';
import { jailPaths, type QemuOptions, socketNames, templateNode } from './qemu-arguments.ts';
import { Qmp } from './qmp.ts';

export interface MachineSpec extends QemuOptions {
  /** The machine's own folders, to be made. */
  readonly place: MachinePlace;
  readonly templateFolder: string;
  readonly frozenFolder: string;
  readonly frozenKey: string;
  readonly nativeFolder: string;
  readonly shimFile: string;
  /** Host user it runs under when the server is root. */
  readonly uid: number;
}

/** A layer of a disk by its file on the host, or the template's disk, which each machine has open. */
export type DiskLayer = { readonly file: string; readonly format: 'raw' | 'qcow2' } | 'template';

/** What the names of nodes that a guest writes to begin with; the number of the lent file follows. */
export const topNode = 'disk-top-';

const mostStateBytes = 16_777_216;
const mostIndexBytes = 67_108_864;

/** One QEMU process: an empty machine that waits for a sandbox, or one that has one. Methods map to QEMU's own steps. */
export class Machine {
  readonly id: string;
  readonly frozenKey: string;
  readonly folder: MachineFolder;
  readonly pid: number;
  readonly #qmp: Qmp;
  readonly #shim: RamShim;
  readonly #agent: Socket;
  readonly #exited: Promise<void>;
  readonly #record: MachineRecord;
  #lent = 0;
  #hasExited = false;

  private constructor(id: string, record: MachineRecord, folder: MachineFolder, wires: Wires, exited: Promise<void>) {
    this.id = id;
    this.pid = record.pid;
    this.#record = record;
    this.frozenKey = record.frozenKey;
    this.folder = folder;
    this.#qmp = wires.qmp;
    this.#shim = wires.shim;
    this.#agent = wires.agent;
    this.#exited = exited.then(() => {
      this.#hasExited = true;
    });
  }

  /** Starts QEMU in its jail and waits until it takes commands. Throws `sandbox.machine_failed` with QEMU's own words. */
  static async start(id: string, spec: MachineSpec): Promise<Machine> {
    const folder = await MachineFolder.create(spec.place, asRoot ? spec.uid : null);
    const child = spawnJailed(spec, folder);
    try {
      const pid = await Promise.race([child.pid, child.closed.then(() => Promise.reject(child.failure()))]);
      const record = { pid, startTime: (await processStartTime(pid)) ?? '', uid: spec.uid, frozenKey: spec.frozenKey };
      await folder.writeRecord(record);
      const wires = await untilThere(() => connectWires(folder), child);
      return new Machine(id, record, folder, wires, child.exited);
    } catch (error) {
      child.kill();
      await child.exited;
      await folder.remove();
      throw error;
    }
  }

  /** Takes over a machine that outlived the server that started it. Throws `sandbox.machine_lost` when it is not there. */
  static async adopt(id: string, place: MachinePlace, record: MachineRecord): Promise<Machine> {
    const folder = await MachineFolder.reopen(place);
    try {
      const lent = await folder.countLent();
      const wires = await connectWires(folder);
      // A process that is not our child can only be watched by looking, but its control socket closes when it ends.
      const machine = new Machine(
        id,
        record,
        folder,
        wires,
        wires.qmp.closed.then(() => untilGone(record)),
      );
      machine.#lent = lent;
      return machine;
    } catch (error) {
      await folder.close();
      throw error;
    }
  }

  /** Resolves when the QEMU process is gone, for whatever reason. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** The byte stream to the guest agent. */
  get agent(): Socket {
    return this.#agent;
  }

  get qmp(): Qmp {
    return this.#qmp;
  }

  /** Gives the machine its writable disk: the first layer is written, the others are read only. Gives the node of the first. */
  async attachDisk(layers: readonly DiskLayer[]): Promise<string> {
    const [top, ...below] = layers;
    if (top === undefined || top === 'template')
      throw new HoldfastError('internal.unexpected', 'A disk has no layers.');
    const name = this.#nextTop();
    const node = await this.#diskNode(top, below, true);
    const disk = { driver: 'raw', 'node-name': 'disk', file: name, discard: 'unmap' };
    // QEMU takes one after the other, and refuses the second when the first failed.
    await Promise.all([
      this.#qmp.execute('blockdev-add', { ...node, 'node-name': name }),
      this.#qmp.execute('blockdev-reopen', { options: [disk] }),
    ]);
    return name;
  }

  /** Puts a new, empty layer on top of the running disk; what was on top becomes read only. */
  async growDisk(layer: Exclude<DiskLayer, 'template'>, previousTop: string): Promise<string> {
    const name = this.#nextTop();
    const node = await this.#diskNode(layer, [], true);
    await this.#qmp.execute('blockdev-add', { ...node, 'node-name': name, backing: null });
    await this.#qmp.execute('blockdev-snapshot', { node: previousTop, overlay: name });
    return name;
  }

  /** The node of the layer that is lent next: an adopter finds by its number which file it is. */
  #nextTop(): string {
    return `${topNode}${this.#lent}`;
  }

  async #diskNode(
    layer: Exclude<DiskLayer, 'template'>,
    below: readonly DiskLayer[],
    writable: boolean,
  ): Promise<Record<string, unknown>> {
    const fileName = await this.lend(layer.file, writable);
    // Without `auto-read-only` QEMU would open a layer for writing again that was taken from its user since.
    const access = { 'read-only': !writable, 'auto-read-only': true };
    const file = { driver: 'file', filename: fileName, ...access, discard: 'unmap' };
    const node = { driver: layer.format, file, 'read-only': !writable, discard: 'unmap' };
    const [backing, ...rest] = below;
    if (backing === undefined) return node;
    return { ...node, backing: backing === 'template' ? templateNode : await this.#diskNode(backing, rest, false) };
  }

  /** Makes a host file visible to QEMU and gives its name there. */
  async lend(file: string, writable: boolean): Promise<string> {
    const name = `lent-${this.#lent++}`;
    await this.folder.lend(file, name, writable);
    return join(jailPaths.machine, name);
  }

  /** Feeds saved device state to a machine started with `incoming`, and waits until it is paused with that state. */
  async loadState(state: Uint8Array): Promise<void> {
    await this.#qmp.execute('migrate-incoming', { uri: `unix:${jailPaths.runtime}/${socketNames.state}` });
    const done = this.#untilMigrated();
    const socket = connect(this.folder.socketPath(socketNames.state));
    socket.on('error', () => socket.destroy());
    socket.end(state);
    try {
      await done;
    } finally {
      socket.destroy();
    }
  }

  async #untilMigrated(): Promise<void> {
    for (;;) {
      const status = runState.parse(await this.#qmp.execute('query-status'));
      if (status.status !== 'inmigrate') return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Lets the guest run. */
  async run(): Promise<void> {
    await this.#qmp.execute('cont');
  }

  /** Stops the guest; QEMU writes its disk caches out. */
  async pause(): Promise<void> {
    await this.#qmp.execute('stop');
  }

  /** Device state without RAM; the guest must be paused. */
  async saveState(): Promise<Uint8Array> {
    const path = join(this.folder.runtime, 'saved-state');
    await this.#qmp.execute('xen-save-devices-state', { filename: `${jailPaths.runtime}/saved-state`, live: false });
    return this.#handedOut(path, mostStateBytes);
  }

  /** Writes changed RAM pages into a layer file, not yet durably, and gives the index of the whole image; the guest must be paused. */
  async saveRam(layerFile: string, layer: number): Promise<{ index: Uint8Array; dirtyPages: number }> {
    const data = await this.lend(layerFile, true);
    const { dirtyPages } = await this.#shim.save({
      index: `${jailPaths.runtime}/saved-index`,
      data,
      layer,
      sync: false,
    });
    return { index: this.#handedOut(join(this.folder.runtime, 'saved-index'), mostIndexBytes), dirtyPages };
  }

  /** Lays a RAM image over the template's RAM; the guest must not have run. Throws `ram.corrupt`. */
  async loadRam(
    index: Uint8Array,
    layerFiles: readonly string[],
    pages: { eager: number; verify: number },
  ): Promise<RamLoaded> {
    writeFileSync(join(this.folder.runtime, 'index'), index, { mode: 0o644 });
    const layers = await Promise.all(layerFiles.map((file) => this.lend(file, false).catch(missingLayer)));
    return this.#shim.load({
      index: `${jailPaths.runtime}/index`,
      layers,
      eagerPages: pages.eager,
      verifyPages: pages.verify,
    });
  }

  /**
   * A file that QEMU wrote. Its process counts as hostile: the file may be anything, of any size. It is in memory, so reading it at once
   * takes less than another thread would to begin.
   */
  #handedOut(path: string, mostBytes: number): Uint8Array {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      if (!stat.isFile() || stat.size > mostBytes)
        throw new HoldfastError('sandbox.machine_failed', `QEMU handed out ${stat.size} bytes of state.`);
      return readFileSync(file);
    } finally {
      closeSync(file);
    }
  }

  /** Ends the process; when it resolves, only the machine's folders are left. */
  async end(): Promise<void> {
    if (!this.#hasExited) killProcess(this.pid);
    await this.#exited;
    // The jail may have ended alone; QEMU has the disk locked until it has.
    await untilGone(this.#record);
    this.detach();
  }

  /** Ends the process and removes its folders. Never throws. */
  async destroy(): Promise<void> {
    await this.end();
    await this.folder.remove();
  }

  /** Lets go of the machine and leaves it running, for the next server to adopt. */
  detach(): void {
    this.#qmp.close();
    this.#shim.close();
    this.#agent.destroy();
  }

  /** The last console output of the guest, for error messages. */
  async console(): Promise<string> {
    const text = z.string().parse(await this.#qmp.execute('ringbuf-read', { device: 'console', size: 65_536 }));
    return text.slice(-4_000);
  }
}

/** A layer of RAM that is gone is damage like any other. */
function missingLayer(error: unknown): never {
  const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  throw isGone
    ? new HoldfastError('ram.corrupt', 'A layer of the saved memory is missing.', {}, { cause: error })
    : error;
}

interface Wires {
  readonly qmp: Qmp;
  readonly shim: RamShim;
  readonly agent: Socket;
}

/**
 * All connections are there before the guest is: state that was saved with the agent's port open is then loaded without the guest
 * being told that its port changed.
 */
async function connectWires(folder: MachineFolder): Promise<Wires> {
  const qmp = await Qmp.connect(folder.socketPath(socketNames.qmp));
  const [shim, agent] = await Promise.all([
    RamShim.connect(folder.socketPath(socketNames.shim)),
    connectStream(folder.socketPath(socketNames.agent)),
  ]);
  return { qmp, shim, agent };
}

function connectStream(path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect(path);
  // Without a listener a late error would end the process; the close that follows is what counts.
  socket.on('error', reject);
  socket.once('connect', () => resolve(socket));
  return promise;
}

const runState = z.object({ status: z.string() });
