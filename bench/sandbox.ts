import { styleText } from 'node:util';
import { SandboxServer } from '../test/e2e/setup/sandbox-server.ts';
import { type Figures, figures } from './measure/sandbox-figures.ts';

/**
 * ./holdfast bench sandbox [--json] [--smoke] [--only PART]
 * Everything is measured over HTTP against a server of its own, in one run, and next to its floor: a bare QEMU process.
 */
const json = process.argv.includes('--json');
const smoke = process.argv.includes('--smoke');
const only = process.argv.includes('--only') ? (process.argv.at(process.argv.indexOf('--only') + 1) ?? null) : null;

const say = (text: string): void => {
  if (!json && process.stderr.isTTY) process.stderr.write(`${styleText('dim', text)}\n`);
};

async function main(): Promise<void> {
  say('starting a server');
  await using server = await SandboxServer.start({}, { least: 2, most: 8 });
  const found = await figures(server, { smoke, only, say });
  if (json) process.stdout.write(`${JSON.stringify(found)}\n`);
  else print(found);
}

function print(found: Figures): void {
  const width = Math.max(...Object.keys(found).map((name) => name.length));
  for (const [name, value] of Object.entries(found)) {
    process.stdout.write(`${name.padEnd(width)}  ${format(name, value)}\n`);
  }
}

function format(name: string, value: number): string {
  if (name.endsWith('_bytes')) return `${(value / 1_048_576).toFixed(2)} MiB`;
  return name.endsWith('_ms') ? `${value.toFixed(2)} ms` : String(Math.round(value * 1_000) / 1_000);
}

await main();
