import { styleText } from 'node:util';
import { type Figures, fullEffort, Measurement, smokeEffort } from './gateway/figures.ts';
import { canPin, pinSelf } from './gateway/pinned-process.ts';
import { direct, type Subject, startFloor, startHoldfast, startPeer, startProvider } from './gateway/subjects.ts';

/**
 * ./holdfast bench gateway [--json] [--smoke]
 * The load and the provider share one processor, and each gateway in turn has the other for itself. In the same run and
 * interleaved: no gateway, the floor (a bare proxy that parses JSON both ways), the peer, and Holdfast with everything on.
 * Processor time is that of the gateway's process, user and system; that of Holdfast's database stands beside it.
 */
const json = process.argv.includes('--json');
const smoke = process.argv.includes('--smoke');

const say = (text: string): void => {
  if (!json && process.stderr.isTTY) process.stderr.write(`${styleText('dim', text)}\n`);
};

async function main(): Promise<void> {
  pinSelf();
  const subjects: Subject[] = [];
  const provider = await startProvider();
  try {
    say('starting the gateways');
    subjects.push(direct(provider.origin));
    for (const start of [startFloor, startPeer, startHoldfast]) subjects.push(await start(provider.origin));
    const found = await new Measurement(subjects, smoke ? smokeEffort : fullEffort).run(say);
    print({ ...found, pinned: canPin ? 1 : 0 });
  } finally {
    for (const subject of subjects.reverse()) await subject.stop();
    await provider.stop();
  }
}

function print(found: Figures): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(found)}\n`);
    return;
  }
  const width = Math.max(...Object.keys(found).map((name) => name.length));
  for (const [name, value] of Object.entries(found))
    process.stdout.write(`${name.padEnd(width)}  ${format(name, value)}\n`);
}

function format(name: string, value: number): string {
  if (name.endsWith('_bytes')) return `${(value / 1_048_576).toFixed(1)} MiB`;
  if (name.endsWith('_us')) return `${value.toFixed(1)} µs`;
  return String(Math.round(value * 1_000) / 1_000);
}

await main();
