import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, createClient } from '@holdfast/sdk';
import { z } from 'zod';
import { killNow } from './machine-processes.ts';
import { until } from './until.ts';

const program = join(import.meta.dirname, '../../apps/server/src/main.ts');
const record = z.object({ url: z.string(), pid: z.number() });

export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The real server program on a data folder of its own, started again and again. */
export class ServerProcess {
  readonly parent: string;
  readonly home: string;
  #child: ChildProcess | null = null;
  #end: Promise<End> = Promise.resolve({ code: null, signal: null });
  #running = false;
  #client: Client | null = null;

  private constructor(parent: string) {
    this.parent = parent;
    this.home = join(parent, 'home');
  }

  /** `shared` is the data folder whose templates are used: building one takes minutes, and it is never changed. */
  static async prepare(shared: string): Promise<ServerProcess> {
    const tests = join(shared, 'test');
    const templatesFolder = join(shared, 'sandboxes/templates');
    for (const folder of [tests, templatesFolder]) await mkdir(folder, { recursive: true });
    const server = new ServerProcess(await mkdtemp(join(tests, 'chaos-')));
    await mkdir(server.home, { mode: 0o700 });
    const sandbox = { templatesFolder, firstUid: 66_000, pool: { least: 1, most: 2 } };
    await writeFile(join(server.home, 'config.json'), JSON.stringify({ logLevel: 'info', sandbox }));
    return server;
  }

  get isRunning(): boolean {
    return this.#running;
  }

  /** The process that was started last, while it runs. */
  get pid(): number | null {
    return this.#running ? (this.#child?.pid ?? null) : null;
  }

  /** Resolves when the process that was started last has ended. */
  get end(): Promise<End> {
    return this.#end;
  }

  get client(): Client {
    if (this.#client === null) throw new Error('the server has not been ready yet');
    return this.#client;
  }

  /** Starts the process; `killAt` is the fault point at which it kills itself. */
  start(killAt: string | null): void {
    const output = openSync(join(this.parent, 'output.log'), 'a');
    const { HOLDFAST_TEST_KILL_AT: _, DATABASE_URL: __, NODE_TEST_CONTEXT: ___, ...inherited } = process.env;
    const env = { ...inherited, HOLDFAST_HOME: this.home, HOLDFAST_PORT: '0' };
    const child = spawn(process.execPath, [program], {
      stdio: ['ignore', output, output],
      env: killAt === null ? env : { ...env, HOLDFAST_TEST_KILL_AT: killAt },
    });
    closeSync(output);
    this.#child = child;
    this.#running = true;
    this.#end = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        this.#running = false;
        resolve({ code, signal });
      });
    });
  }

  /** Waits until it answers `/readyz`. False when it ended before. */
  async ready(): Promise<boolean> {
    return until('the server is ready by itself', async () => {
      if (!this.#running) return false;
      const text = await readFile(join(this.home, 'server.json'), 'utf8').catch(() => 'null');
      const found = record.safeParse(JSON.parse(text));
      // The record of a server that was killed is still there.
      if (!found.success || found.data.pid !== this.#child?.pid) return null;
      const answer = await fetch(`${found.data.url}/readyz`).catch(() => null);
      await answer?.arrayBuffer();
      if (answer?.status !== 200) return null;
      const key = (await readFile(join(this.home, 'credentials'), 'utf8')).trim();
      this.#client = createClient({ url: found.data.url, apiKey: key });
      return true;
    });
  }

  kill(): void {
    if (this.#running && this.#child?.pid !== undefined) killNow(this.#child.pid);
  }

  /** Stops it as an operator would. */
  async stop(): Promise<End> {
    if (this.#running) this.#child?.kill('SIGTERM');
    return this.#end;
  }

  /** The last lines it printed. */
  async words(): Promise<string> {
    const text = await readFile(join(this.parent, 'output.log'), 'utf8').catch(() => '');
    return text.split('\n').slice(-60).join('\n');
  }

  async remove(): Promise<void> {
    await rm(this.parent, { recursive: true, force: true });
  }
}
