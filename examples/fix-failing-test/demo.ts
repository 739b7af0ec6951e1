import { parseArgs } from 'node:util';
import { createClient, HoldfastError, type Sandbox } from '@holdfast/sdk';
import { runDemo } from './demo-run.ts';
import { Screen } from './screen.ts';

const help = `Usage: node demo.ts [--json] [--model NAME] [--keep]

An agent fixes a failing test in a sandbox of a running Holdfast server.

  --json         print the figures as one JSON document, and nothing else
  --model NAME   use this model route instead of the one the server lists first
  --keep         leave the sandboxes in place

  HOLDFAST_URL       address of the server (http://localhost:7070)
  HOLDFAST_API_KEY   key of a developer or owner
`;

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    model: { type: 'string' },
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const { env, stdout } = process;
const wantsColor = env.FORCE_COLOR === undefined ? stdout.isTTY && env.NO_COLOR === undefined : env.FORCE_COLOR !== '0';

const screen = new Screen({
  out: flags.json ? { write: () => undefined } : stdout,
  width: stdout.isTTY ? stdout.columns : 100,
  color: wantsColor && !flags.json,
  live: stdout.isTTY && !flags.json,
});

const explain = (error: unknown): string =>
  error instanceof HoldfastError
    ? `${error.message} (${error.code})\n${error.kind.help}`
    : error instanceof Error
      ? error.message
      : String(error);

/** What fails because the sandboxes are being deleted is not worth a message. */
let leaving = false;

const main = async (): Promise<number> => {
  const url = env.HOLDFAST_URL ?? 'http://localhost:7070';
  const apiKey = env.HOLDFAST_API_KEY;
  if (apiKey === undefined) throw new HoldfastError('auth.missing', 'HOLDFAST_API_KEY is not set.');
  const client = createClient({ url, apiKey });
  const sandboxes: Sandbox[] = [];
  const clean = async () => {
    if (flags.keep) return;
    await Promise.allSettled(sandboxes.splice(0).map((sandbox) => sandbox.through(client).delete()));
  };
  const leave = (exitCode: number) => () => {
    leaving = true;
    void clean().finally(() => process.exit(exitCode));
  };
  process.once('SIGINT', leave(130));
  process.once('SIGTERM', leave(143));
  // Whoever reads the output may stop before the end; the sandboxes must not stay behind for that.
  stdout.once('error', leave(1));
  try {
    const figures = await runDemo({
      client,
      apiKey,
      model: flags.model ?? null,
      screen,
      onSandbox: (sandbox) => sandboxes.push(sandbox),
    });
    if (flags.json) stdout.write(`${JSON.stringify(figures)}\n`);
    return 0;
  } finally {
    await clean();
  }
};

if (flags.help) stdout.write(help);
else {
  process.exitCode = await main().catch((error: unknown) => {
    if (!leaving) process.stderr.write(`\n${explain(error)}\n`);
    return 1;
  });
}
