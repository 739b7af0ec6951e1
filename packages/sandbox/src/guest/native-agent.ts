import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { GuestClient } from './client.ts';

const guestDirectory = new URL('../../../../guest', import.meta.url).pathname;
const run = promisify(execFile);

/** The real agent, built and run as an ordinary program of this machine, for tests. It serves one connection at a time. */
export class NativeAgent implements AsyncDisposable {
  /** A directory of its own, for whatever the test writes. */
  readonly directory: string;
  readonly #program: string;
  readonly #process: ChildProcess;
  readonly #socketPath: string;

  private constructor(directory: string, program: string) {
    this.directory = directory;
    this.#program = program;
    this.#socketPath = join(directory, 'agent.sock');
    this.#process = spawn(program, ['--listen', this.#socketPath], { stdio: ['ignore', 'inherit', 'inherit'] });
  }

  /** Builds the agent and starts it. */
  static async start(): Promise<NativeAgent> {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-agent-'));
    await run('make', ['-C', guestDirectory, '-j2', `OUT=${directory}`]);
    return new NativeAgent(directory, join(directory, 'holdfast-agent'));
  }

  /** Starts one more of the same. */
  async another(): Promise<NativeAgent> {
    return new NativeAgent(await mkdtemp(join(tmpdir(), 'holdfast-agent-')), this.#program);
  }

  /** A byte stream to the agent, as soon as it listens. */
  async open(): Promise<Socket> {
    for (let attempt = 0; ; attempt += 1) {
      const socket = connect(this.#socketPath);
      try {
        await once(socket, 'connect');
        return socket;
      } catch (error) {
        if (attempt === 200) throw error;
        await delay(10);
      }
    }
  }

  async client(): Promise<GuestClient> {
    return GuestClient.connect(await this.open(), {
      takeover: false,
      timeoutMs: 10_000,
      random: () => randomBytes(16),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#process.exitCode === null && this.#process.signalCode === null;
    const ended = running ? once(this.#process, 'exit') : null;
    this.#process.kill('SIGKILL');
    await ended;
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** What a test suite works on; filled in before its tests run. */
export interface AgentUnderTest {
  readonly agent: NativeAgent;
  readonly client: GuestClient;
}

/** Waits until something holds, at most about ten seconds. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    if (await holds()) return;
    await delay(10);
  }
  throw new Error(`never happened: ${what}`);
}

export async function bytesOfAll(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
