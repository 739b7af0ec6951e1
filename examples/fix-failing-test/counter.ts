import type { Sandbox } from '@holdfast/sdk';

/** A background process whose only work is to count, four times a second, into its log. */
export interface Count {
  readonly pid: number;
  readonly value: number;
}

const name = 'counter';
const pollMs = 100;
const deadlineMs = 10_000;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const lastNumber = (log: string): number => {
  const lines = log.split('\n').slice(0, -1);
  return Number(lines.at(-1) ?? '0');
};

export const startCounter = async (sandbox: Sandbox): Promise<number> => {
  const script = 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.25; done';
  return (await sandbox.spawn(name, script, { logLimitBytes: 65_536 })).pid;
};

/** How far the counter is, and its process id. Throws when it does not run. */
export const readCounter = async (sandbox: Sandbox): Promise<Count> => {
  const [processes, log] = await Promise.all([sandbox.processes(), sandbox.logs(name, { limitBytes: 64 })]);
  const value = lastNumber(await log.text());
  const found = processes.find((process) => process.name === name);
  if (found?.state !== 'running') throw new Error(`The counter does not run: ${found?.state ?? 'no such process'}.`);
  return { pid: found.pid, value };
};

/** Waits until the counter is past `value`. */
export const waitForCount = async (sandbox: Sandbox, value: number): Promise<Count> => {
  const begun = performance.now();
  for (;;) {
    const count = await readCounter(sandbox);
    if (count.value > value) return count;
    if (performance.now() - begun > deadlineMs) throw new Error(`The counter stands still at ${count.value}.`);
    await wait(pollMs);
  }
};
