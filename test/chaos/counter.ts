import { HoldfastError, type Sandbox } from '@holdfast/sdk';
import type { BoxFacts, Counter } from './model.ts';
import { until } from './until.ts';

const processName = 'counter';

/** Counts in its memory alone. Reading a pipe that nobody writes waits without starting a process. */
const program =
  'rm -f /tmp/never; mkfifo /tmp/never; exec 3<>/tmp/never; i=0; while :; do i=$((i+1)); echo "$$ $i"; read -t 0.2 -u 3 never; done';

export async function startCounter(sandbox: Sandbox): Promise<void> {
  await sandbox.spawn(processName, ['bash', '-c', program], { logLimitBytes: 4_096 });
}

/** The last count of the process, or null when there is no such process (any more). */
async function readCounter(sandbox: Sandbox): Promise<Counter | 'starting' | null> {
  try {
    const text = await (await sandbox.logs(processName)).text();
    const [pid, count] = [...text.matchAll(/^(\d+) (\d+)\n/gm)].at(-1)?.slice(1) ?? [];
    return pid === undefined || count === undefined ? 'starting' : { pid: Number(pid), last: Number(count) };
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'guest.process_not_found') return null;
    throw error;
  }
}

/** Proves that the process that counts is still the same and goes on; starts one where memory may be lost, and is. */
export async function verifyCounter(box: BoxFacts, sandbox: Sandbox): Promise<void> {
  const known = box.counter;
  const found = await until(`the counter of ${box.name} goes on`, async () => {
    const read = await readCounter(sandbox);
    if (read === null) return 'none' as const;
    if (read === 'starting') return null;
    // Another process than the known one is judged below; the same one must count.
    return known !== null && read.pid === known.pid && read.last <= known.last ? null : read;
  });
  if (known !== null && !box.memoryInDoubt) {
    if (found === 'none') {
      const events = (await sandbox.events({ limit: 1_000 }))
        .slice(-8)
        .map((e) => `${e.at} ${e.type} ${JSON.stringify(e.data)}`);
      throw new Error(`${box.name} lost its processes, and nothing had happened to its machine:\n${events.join('\n')}`);
    }
    if (found.pid !== known.pid) throw new Error(`${box.name}: its process ${known.pid} is now ${found.pid}`);
  }
  if (found === 'none') {
    await startCounter(sandbox);
    box.counter = null;
    box.memoryInDoubt = false;
    return verifyCounter(box, sandbox);
  }
  box.counter = found;
  box.memoryInDoubt = false;
}
