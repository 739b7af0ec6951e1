import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '@holdfast/db';
import { createClient } from '@holdfast/sdk';
import { z } from 'zod';
import { until } from '../../test/e2e/setup/until.ts';
import { descendantsRunNs, loadProcessor, measuredProcessor, PinnedProcess } from './pinned-process.ts';

/** What is measured: a way to the provider. */
export interface Subject {
  readonly name: string;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Model names for the provider in OpenAI's format, and in Anthropic's. */
  readonly models: { readonly openai: string; readonly anthropic: string };
  /** Nanoseconds of processor time so far; of the gateway, and of its database. */
  readonly runNs: () => number;
  readonly databaseRunNs: () => number;
  readonly residentBytes: () => number;
  readonly stop: () => Promise<void>;
}

const json = { 'content-type': 'application/json' };
const models = { openai: 'gpt-4.1-mini', anthropic: 'claude-haiku-4-5' };
const here = import.meta.dirname;
const originOf = (port: string): string => `http://127.0.0.1:${port}`;

export const startProvider = async (): Promise<{ origin: string; stop: () => Promise<void> }> => {
  const provider = PinnedProcess.start(loadProcessor, [join(here, 'mock-provider.ts')]);
  return { origin: originOf(await provider.firstLine()), stop: () => provider.stop() };
};

/** No gateway at all. */
export const direct = (provider: string): Subject => ({
  ...{ name: 'direct', origin: provider, headers: json, models },
  ...{ runNs: () => 0, databaseRunNs: () => 0, residentBytes: () => 0, stop: () => Promise.resolve() },
});

const ofProcess = (name: string, process: PinnedProcess, origin: string, headers: Subject['headers']): Subject => ({
  ...{ name, origin, headers: { ...json, ...headers }, models },
  runNs: () => process.runNs,
  databaseRunNs: () => 0,
  residentBytes: () => process.residentBytes,
  stop: () => process.stop(),
});

export const startFloor = async (provider: string): Promise<Subject> => {
  const process = PinnedProcess.start(measuredProcessor, [join(here, 'floor-proxy.ts'), provider]);
  return ofProcess('floor', process, originOf(await process.firstLine()), {});
};

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });

const answers = async (origin: string): Promise<boolean> => {
  try {
    await (await fetch(origin)).arrayBuffer();
    return true;
  } catch {
    return false;
  }
};

/** The peer as its package starts: `node build/start-server.js`, without its console. */
export const startPeer = async (provider: string): Promise<Subject> => {
  const manifest = createRequire(import.meta.url).resolve('@portkey-ai/gateway/package.json');
  const port = await freePort();
  const program = [
    ...['--import', join(here, 'peer-preload.ts')],
    join(manifest, '../build/start-server.js'),
    `--port=${port}`,
    '--headless',
  ];
  const process = PinnedProcess.start(measuredProcessor, program, { NODE_ENV: 'production' });
  const origin = originOf(String(port));
  await until('the peer answers', () => answers(origin));
  return ofProcess('peer', process, origin, {
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${provider}/v1`,
    authorization: 'Bearer sk-bench',
  });
};

const record = z.object({ url: z.string() });
const plenty = 1_000_000_000_000;

const configurationOf = (provider: string) => ({
  port: 0,
  logLevel: 'warn',
  sandbox: { pool: { least: 0, most: 0 }, warmTiersMib: [] },
  providers: [
    { name: 'openai', kind: 'openai', baseUrl: `${provider}/v1`, apiKey: 'sk-bench' },
    { name: 'anthropic', kind: 'anthropic', baseUrl: provider, apiKey: 'sk-bench' },
  ],
  routes: [
    { name: 'fast', targets: [{ provider: 'openai', model: models.openai }] },
    { name: 'claude', targets: [{ provider: 'anthropic', model: models.anthropic }] },
  ],
});

/** Three levels of budgets, and limits of requests and tokens a minute, all hard and none of them reached. */
const addBudgets = async (url: string, apiKey: string): Promise<void> => {
  const client = createClient({ url, apiKey });
  const { keyId } = await client.whoami();
  await client.createBudget({ body: { scope: 'workspace', period: 'month', amount: plenty } });
  await client.createBudget({
    body: { scope: 'workspace', endpoint: 'chat.completions', period: 'day', amount: plenty },
  });
  await client.createBudget({ body: { scope: 'key', subjectId: keyId, period: 'hour', amount: plenty } });
  await client.createBudget({
    body: { scope: 'key', subjectId: keyId, unit: 'requests', period: 'minute', amount: plenty },
  });
  await client.createBudget({
    body: { scope: 'key', subjectId: keyId, unit: 'tokens', period: 'minute', amount: plenty },
  });
};

/** Holdfast with everything on: a key, three levels of budgets, limits, ledger and spans. Its database runs beside the load. */
export const startHoldfast = async (provider: string): Promise<Subject> => {
  const home = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  // PostgreSQL runs as another user when this is root.
  await chmod(home, 0o711);
  // Started here first, so that it runs on this processor; the server finds it in the folder.
  const database = await openDatabase({ embedded: { folder: join(home, 'postgres') } });
  await writeFile(join(home, 'config.json'), JSON.stringify(configurationOf(provider)));
  const program = join(here, '../../apps/server/src/main.ts');
  const process = PinnedProcess.start(measuredProcessor, [program], { HOLDFAST_HOME: home });
  const readRecord = async () => record.parse(JSON.parse(await readFile(join(home, 'server.json'), 'utf8'))).url;
  const url = await until('the server is ready', () => readRecord().catch(() => null));
  const key = (await readFile(join(home, 'credentials'), 'utf8')).trim();
  await addBudgets(url, key);
  return {
    ...ofProcess('holdfast', process, url, { authorization: `Bearer ${key}` }),
    models: { openai: 'fast', anthropic: 'claude' },
    databaseRunNs: () => descendantsRunNs('postgres'),
    stop: async () => {
      await process.stop();
      await database.close();
      await rm(home, { recursive: true, force: true });
    },
  };
};
