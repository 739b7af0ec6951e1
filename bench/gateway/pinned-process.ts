import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** One processor is for what measures, the other for what is measured. */
export const loadProcessor = 0;
export const measuredProcessor = 1;

/** True when processes can be pinned here; else all share all processors, and figures are rough. */
export const canPin = spawnSync('taskset', ['-c', '0,1', 'true']).status === 0;

/** Pins this process with all its threads. */
export const pinSelf = (): void => {
  if (canPin) spawnSync('taskset', ['-a', '-p', '-c', String(loadProcessor), String(process.pid)]);
};

/** Nanoseconds that a process has run, all threads, in user and system mode. */
const runNs = (pid: number): number => {
  let total = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`))
      total += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    // It ended meanwhile.
  }
  return total;
};

/** A process of this project, on a processor of its own. */
export class PinnedProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static start(
    processor: number,
    program: readonly string[],
    environment: Readonly<Record<string, string | undefined>> = {},
  ): PinnedProcess {
    const pin = canPin ? ['taskset', '-c', String(processor)] : [];
    const [command = '', ...rest] = [...pin, process.execPath, ...program];
    const child = spawn(command, rest, {
      // The channel tells the child of our end, however we end.
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...environment },
    });
    return new PinnedProcess(child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get runNs(): number {
    return runNs(this.pid);
  }

  get residentBytes(): number {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024;
  }

  /** The first line that it prints. */
  async firstLine(): Promise<string> {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('the process prints nothing');
    let text = '';
    for await (const chunk of stdout) {
      text += String(chunk);
      if (text.includes('\n')) break;
    }
    return text.split('\n')[0] ?? '';
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }
}

interface Seen {
  readonly parent: number;
  readonly name: string;
}

const processes = (): ReadonlyMap<number, Seen> => {
  const seen = new Map<number, Seen>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
      seen.set(Number(entry), { parent, name: /^Name:\s+(.+)$/m.exec(status)?.[1] ?? '' });
    } catch {
      // It ended meanwhile.
    }
  }
  return seen;
};

/** Nanoseconds that processes of that name have run which this process started, or what it started. */
export const descendantsRunNs = (name: string): number => {
  const all = processes();
  const isOurs = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = all.get(at)?.parent)
      if (at === process.pid) return true;
    return false;
  };
  let total = 0;
  for (const [pid, seen] of all) if (seen.name === name && isOurs(pid)) total += runNs(pid);
  return total;
};
