import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '@holdfast/core';
import { RamShim } from '../../src/ram/index.ts';

const nativeFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** What the tests run: the shim and the programs that drive it, in a folder of their own. */
export interface Built {
  readonly folder: string;
  readonly shimFile: string;
  readonly fakeQemu: string;
  readonly crcCheck: string;
  remove(): Promise<void>;
}

export async function build(): Promise<Built> {
  const folder = await mkdtemp(join(tmpdir(), 'ramshim-'));
  const make = spawn('make', ['-s', '-C', nativeFolder, `OUT=${folder}`, 'all', 'test-programs'], { stdio: 'inherit' });
  const [code] = await once(make, 'exit');
  if (code !== 0) throw new Error(`make ended with ${code}`);
  return {
    folder,
    shimFile: join(folder, 'holdfast-ramshim.so'),
    fakeQemu: join(folder, 'fake-qemu'),
    crcCheck: join(folder, 'crc32c-check'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** A file of so many bytes that holds nothing. */
export async function sparseFile(path: string, bytes: number): Promise<string> {
  const file = await open(path, 'w', 0o644);
  await file.truncate(bytes);
  await file.close();
  return path;
}

/** A RAM file whose pages differ: page n begins with n + 1. */
export async function templateFile(path: string, pages: number): Promise<string> {
  const file = await open(path, 'w', 0o644);
  const content = Buffer.alloc(pages * 4096);
  for (let page = 0; page < pages; page++) content.writeUInt32LE(page + 1, page * 4096);
  await file.writeFile(content);
  await file.close();
  return path;
}

export interface MachineOptions {
  readonly ram: string;
  readonly bytes: number;
  readonly shared?: boolean;
  readonly readOnly?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

let machines = 0;

/** The test program in QEMU's place, with the shim loaded. */
export class FakeMachine {
  readonly socketPath: string;
  readonly shim: RamShim;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(socketPath: string, shim: RamShim, child: ChildProcess, lines: AsyncIterator<string>) {
    this.socketPath = socketPath;
    this.shim = shim;
    this.#child = child;
    this.#lines = lines;
  }

  static async start(built: Built, options: MachineOptions): Promise<FakeMachine> {
    const socketPath = join(built.folder, `shim-${++machines}.sock`);
    const env = {
      ...options.env,
      LD_PRELOAD: built.shimFile,
      HOLDFAST_SHIM_SOCKET: socketPath,
      HOLDFAST_RAM_PATH: options.ram,
      ...(options.readOnly === false ? {} : { HOLDFAST_RAM_READONLY: '1' }),
    };
    const argv = [options.ram, String(options.bytes), ...(options.shared === true ? ['shared'] : [])];
    const child = spawn(built.fakeQemu, argv, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const ready = await lines.next();
    if (ready.value !== 'ok ready') throw new Error('the test program did not start');
    return new FakeMachine(socketPath, await RamShim.connect(socketPath, { timeoutMs: 120_000 }), child, lines);
  }

  /** Sends a command of `fake-qemu.c` and returns its answer. */
  async tell(command: string): Promise<string> {
    this.#child.stdin?.write(`${command}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`the test program ended at: ${command}`);
    return line.value;
  }

  async end(): Promise<void> {
    this.shim.close();
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.stdin?.end();
    await exit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** For assert.rejects. */
export const withCode =
  (code: string, details: Readonly<Record<string, unknown>> = {}) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError &&
    error.code === code &&
    Object.entries(details).every(([key, value]) =>
      value instanceof RegExp ? value.test(String(error.details[key])) : error.details[key] === value,
    );
