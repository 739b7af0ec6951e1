import assert from 'node:assert/strict';
import type { Sandbox } from '@holdfast/sdk';
import { until } from './until.ts';

/** Counts in memory alone and prints, as it goes, what must survive: the count, its process id, both clocks, and random numbers. */
const program = `
import os, time
n = 0
secret = os.urandom(8).hex()
while True:
    n += 1
    print(n, os.getpid(), secret, time.monotonic(), time.time(), os.urandom(8).hex(), flush=True)
    time.sleep(0.05)
`;

export interface Tick {
  readonly count: number;
  readonly pid: number;
  /** Made when the process began, and only in its memory. */
  readonly secret: string;
  readonly monotonicMs: number;
  readonly timeMs: number;
  /** From the kernel's generator, new in each tick. */
  readonly random: string;
}

export const startCounter = async (box: Sandbox, name = 'counter'): Promise<void> => {
  await box.spawn(name, ['python3', '-c', program], { logLimitBytes: 1_048_576 });
};

/** All ticks so far. Resumes the sandbox. */
export const ticks = async (box: Sandbox, name = 'counter'): Promise<Tick[]> => {
  const text = await (await box.logs(name)).text();
  const lines = text.slice(0, text.lastIndexOf('\n')).split('\n');
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [count, pid, secret = '', monotonic, time, random = ''] = line.split(' ');
      return {
        ...{ count: Number(count), pid: Number(pid), secret, random },
        ...{ monotonicMs: Number(monotonic) * 1_000, timeMs: Number(time) * 1_000 },
      };
    });
};

/** Waits until the counter is beyond `count`, and gives all ticks. */
export const ticksBeyond = (box: Sandbox, count: number, name = 'counter'): Promise<Tick[]> =>
  until(`the counter of ${box.idOrName} is beyond ${count}`, async () => {
    const all = await ticks(box, name);
    return (all.at(-1)?.count ?? 0) > count ? all : null;
  });

/** One process from the first tick to the last: nothing was lost, repeated or begun anew. */
export const assertContinuous = (all: readonly Tick[]): void => {
  const [first] = all;
  for (const [i, tick] of all.entries()) {
    const before = all[i - 1];
    if (first === undefined || before === undefined) continue;
    assert.equal(tick.count, before.count + 1);
    assert.equal(tick.pid, first.pid);
    assert.equal(tick.secret, first.secret);
    assert.ok(tick.monotonicMs > before.monotonicMs, `${before.monotonicMs} then ${tick.monotonicMs}`);
  }
};
