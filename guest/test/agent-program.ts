import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const guest = fileURLToPath(new URL('..', import.meta.url));

export interface Built {
  readonly folder: string;
  readonly program: string;
  remove(): Promise<void>;
}

const output = join(guest, 'build', 'test');

/**
 * Builds the agent as it ships, or with the sanitizers of the compiler. Only what has changed is compiled; test files
 * that run at the same time wait for each other. Everything a test makes goes to `folder`.
 */
export async function build(sanitized = false): Promise<Built> {
  await mkdir(output, { recursive: true });
  const make = ['make', '-j2', '-C', guest, `OUT=${output}`, sanitized ? 'sanitized' : 'all'];
  await promisify(execFile)('flock', [join(output, 'lock'), ...make]);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-agent-'));
  return {
    folder,
    program: join(output, sanitized ? 'holdfast-agent-sanitized' : 'holdfast-agent'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

export interface Agent {
  readonly socket: string;
  readonly pid: number;
  /** What it wrote on its standard error. */
  complaints(): string;
  running(): boolean;
  /** Ends it by SIGTERM and returns its exit code. */
  stop(): Promise<number | null>;
}

let started = 0;

export async function start(built: Built): Promise<Agent> {
  started += 1;
  const socket = join(built.folder, `agent-${started}.sock`);
  const child: ChildProcess = spawn(built.program, ['--listen', socket], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaints = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaints = (complaints + chunk.toString()).slice(-100_000);
  });
  await until(() => readFile(`/proc/net/unix`, 'utf8').then((list) => list.includes(socket)), 'the agent to listen');
  return {
    socket,
    pid: child.pid ?? 0,
    complaints: () => complaints,
    running: () => child.exitCode === null && child.signalCode === null,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
      return child.exitCode;
    },
  };
}

/** Waits for a condition, with a bound that only a failure reaches. */
export async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await pause(5);
  }
}

/** False when there is no such process or it is a zombie. */
export async function alive(pid: number): Promise<boolean> {
  try {
    const status = await readFile(`/proc/${pid}/stat`, 'utf8');
    return !/\) [ZX] /.test(status);
  } catch {
    return false;
  }
}

/** Resident memory of a process in KiB. */
export async function residentKib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN);
}
