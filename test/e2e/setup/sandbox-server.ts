import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '@holdfast/db';
import { type Client, createClient } from '@holdfast/sdk';
import { z } from 'zod';
import { until } from './until.ts';

const program = join(import.meta.dirname, '../../../apps/server/src/main.ts');
/** The data folder whose templates all tests share: building one takes minutes, and it is never changed. */
const sharedHome = process.env['HOLDFAST_HOME'] ?? join(homedir(), '.holdfast');
const keptChars = 20_000;
const shownErrors = 10;

const record = z.object({ url: z.string(), pid: z.number() });
const machineRecord = z.object({ pid: z.number() });

/** A server process of its own on a data folder of its own, with real machines. */
export class SandboxServer implements AsyncDisposable {
  readonly home: string;
  #child: ChildProcess | null = null;
  #client: Client | null = null;
  #database: Database | null = null;
  #url = '';
  #printed = '';

  private constructor(home: string) {
    this.home = home;
  }

  static async start(
    settings: Readonly<Record<string, unknown>> = {},
    pool = { least: 1, most: 1 },
  ): Promise<SandboxServer> {
    const parent = join(sharedHome, 'test');
    const templatesFolder = join(sharedHome, 'sandboxes/templates');
    for (const folder of [parent, templatesFolder]) await mkdir(folder, { recursive: true });
    const home = await mkdtemp(join(parent, 'e2e-'));
    const config = {
      port: 0,
      logLevel: 'info',
      sandbox: { templatesFolder, pool },
      ...settings,
    };
    await writeFile(join(home, 'config.json'), JSON.stringify(config));
    const server = new SandboxServer(home);
    await server.run();
    return server;
  }

  /** The client of the owner's key. Another one after each start, as the port changes. */
  get client(): Client {
    if (this.#client === null) throw new Error('the server does not run');
    return this.#client;
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the server does not run');
    return this.#child.pid;
  }

  /** Starts the process and waits until it answers. */
  async run(): Promise<void> {
    const child = spawn(process.execPath, [program], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], HOLDFAST_HOME: this.home, HOLDFAST_PORT: '0' },
    });
    const keep = (text: string) => {
      this.#printed = (this.#printed + text).slice(-keptChars);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    this.#child = child;
    const found = await until('the server is ready', async () => {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}:\n${this.#printed}`);
      const text = await readFile(join(this.home, 'server.json'), 'utf8').catch(() => null);
      const parsed = text === null ? null : record.parse(JSON.parse(text));
      return parsed?.pid === child.pid ? parsed : null;
    });
    this.#url = found.url;
    this.#client = this.clientOf((await readFile(join(this.home, 'credentials'), 'utf8')).trim());
  }

  clientOf(apiKey: string): Client {
    return createClient({ url: this.#url, apiKey });
  }

  /** Ends the process by SIGTERM and waits for it. Throws when it does not end well. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await ended;
    this.#child = null;
    this.#client = null;
    if (child.exitCode !== 0) throw new Error(`the server ended with ${child.exitCode ?? child.signalCode}`);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.run();
  }

  /** The server's own database, which this process shares until it is disposed of. */
  async database(): Promise<Database> {
    this.#database ??= await openDatabase({ embedded: { folder: join(this.home, 'postgres') } });
    return this.#database;
  }

  /** Resident memory of the server process in bytes. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
  }

  /** Process ids of the machines that have a folder in this home. */
  async machines(): Promise<number[]> {
    const folder = join(this.home, 'sandboxes/run');
    const pids: number[] = [];
    for (const entry of await readdir(folder).catch(() => [])) {
      if (!entry.endsWith('.json')) continue;
      const text = await readFile(join(folder, entry), 'utf8').catch(() => '{"pid":0}');
      const { pid } = machineRecord.parse(JSON.parse(text));
      const words = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (words.includes('qemu-system')) pids.push(pid);
    }
    return pids;
  }

  /** What the server itself took for errors is the first thing to look at when a test failed. */
  async #showErrors(): Promise<void> {
    const log = await readFile(join(this.home, 'log/server.log'), 'utf8').catch(() => '');
    const errors = log.split('\n').filter((line) => line.includes('"level":"error"'));
    for (const line of errors.slice(-shownErrors)) process.stderr.write(`server: ${line.slice(0, 2_000)}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#database?.close();
      await this.stop();
    } finally {
      await this.#showErrors();
      for (const pid of await this.machines()) process.kill(pid, 'SIGKILL');
      await rm(this.home, { recursive: true, force: true });
    }
  }
}
