import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import { readConfig } from '@holdfast/server';
import { z } from 'zod';
import { eventually } from './setup/eventually.ts';
import { makeHome } from './setup/test-home.ts';

const program = new URL('../../apps/server/src/main.ts', import.meta.url).pathname;
const isRoot = process.getuid?.() === 0;
const failure = z.object({ error: z.string(), msg: z.string(), help: z.string(), details: z.looseObject({}) });
const record = z.object({ url: z.string(), pid: z.number(), version: z.string() });

interface Ended {
  readonly code: unknown;
  readonly stderr: string;
}

const start = (
  home: string,
  environment: Readonly<Record<string, string>> = {},
  wrap: readonly string[] = [],
): ChildProcess => {
  const [file, ...args] = [...wrap, process.execPath, program];
  return spawn(file, args, {
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      HOLDFAST_HOME: home,
      HOLDFAST_PORT: '0',
      ...environment,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
};

const ended = async (child: ChildProcess): Promise<Ended> => {
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [code] = await once(child, 'exit');
  return { code, stderr };
};

/** Starts a server that cannot start, and gives the one error that it says. */
const refusal = async (
  home: string,
  environment: Readonly<Record<string, string>> = {},
  wrap: readonly string[] = [],
): Promise<z.output<typeof failure>> => {
  const { code, stderr } = await ended(start(home, environment, wrap));
  assert.equal(code, 1, stderr);
  return failure.parse(JSON.parse(stderr.trim().split('\n').at(-1) ?? ''));
};

const ready = async (child: ChildProcess, home: string): Promise<z.output<typeof record>> => {
  const read = async () =>
    record.safeParse(JSON.parse(await readFile(join(home, 'server.json'), 'utf8').catch(() => '{}')));
  await eventually(
    async () => child.exitCode !== null || (await read()).data?.pid === child.pid,
    'the server is ready',
  );
  assert.equal(child.exitCode, null, 'the server ended');
  return record.parse((await read()).data);
};

const stop = async (child: ChildProcess): Promise<unknown> => {
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  return code;
};

const brokenFiles: readonly (readonly [string, string, RegExp])[] = [
  ['not JSON', '{"port": 1', /JSON/],
  ['an unknown key', '{"prot": 7070}', /prot/],
  ['a port that is none', '{"port": 70000}', /^.*config\.json is not valid\. port:/],
  [
    'a nested mistake',
    '{"providers": [{"name": "x", "kind": "openai-compatible", "baseUrl": "nowhere"}]}',
    /providers\.0\.baseUrl/,
  ],
  ['an unknown nested key', '{"sandbox": {"pool": {"lest": 1}}}', /sandbox\.pool.*lest/],
];

/** The error of a configuration that is not valid. */
const configError = (variables: Readonly<Record<string, string>>): HoldfastError => {
  try {
    readConfig(variables);
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  assert.fail('the configuration was taken as valid');
};

for (const [what, text, expected] of brokenFiles)
  test(`[R-startup-explains] a configuration file with ${what}`, async () => {
    await using home = await makeHome();
    await writeFile(join(home.path, 'config.json'), text);
    const { code, message, details } = configError({ HOLDFAST_HOME: home.path });
    assert.equal(code, 'config.invalid');
    assert.match(message, expected);
    assert.equal(details.file, join(home.path, 'config.json'));
  });

test('[R-startup-explains] a variable that is not valid is named', async () => {
  await using home = await makeHome();
  const broken = [
    ['HOLDFAST_PORT', '-1'],
    ['HOLDFAST_PORT', '7e3'],
    ['HOLDFAST_PORT', '65536'],
    ['DATABASE_URL', 'mysql://x'],
    ['OPENAI_BASE_URL', 'nowhere'],
    ['HOLDFAST_LOG_LEVEL', 'loud'],
  ] as const;
  for (const [name, value] of broken) {
    const { code, message } = configError({ HOLDFAST_HOME: home.path, [name]: value });
    assert.equal(code, 'config.invalid');
    assert.ok(message.includes(name), message);
  }
});

test('the environment wins over the file, and a provider in it is added to those of the file', async () => {
  await using home = await makeHome({ port: 1111, host: '127.0.0.2' });
  const environment = { HOLDFAST_HOME: home.path, HOLDFAST_PORT: '2222', OPENAI_API_KEY: 'sk-x', DATABASE_URL: '' };
  const config = readConfig(environment);
  assert.deepEqual([config.port, config.host, config.databaseUrl], [2222, '127.0.0.2', null]);
  const openai = config.gateway.providers.find(({ name }) => name === 'openai');
  assert.equal(openai?.baseUrl, 'https://api.openai.com/v1');
  assert.ok(!JSON.stringify(config).includes('sk-x'));
});

test('[R-secrets-stay-secret] a broken configuration file is not quoted', async () => {
  await using home = await makeHome();
  await writeFile(join(home.path, 'config.json'), '{"databaseUrl": "postgresql://u:hunter2@h/d" "providers": []}');
  const { code, stderr } = await ended(start(home.path));
  assert.equal(code, 1);
  assert.equal(failure.parse(JSON.parse(stderr)).error, 'config.invalid');
  assert.ok(!stderr.includes('hunter2'), stderr);
});

test('[R-startup-explains] a data folder that is a file', async () => {
  await using home = await makeHome();
  const path = join(home.path, 'file');
  await writeFile(path, '');
  assert.equal((await refusal(path)).error, 'home.unusable');
  assert.equal((await refusal(join(path, 'below'))).error, 'home.unusable');
});

test('[R-startup-explains] a data folder of somebody else', async () => {
  await using home = await makeHome();
  // For a user who is not root, /usr belongs to somebody else.
  if (isRoot) await chown(home.path, 12_345, 12_345);
  const { error, msg } = await refusal(isRoot ? home.path : '/usr');
  assert.equal(error, 'home.unusable');
  assert.match(msg, /belongs to user|may not write/);
  if (isRoot) await chown(home.path, 0, 0);
});

/** Runs the server in a mount namespace of its own, in which its data folder is what `script` makes of it. */
const inMountNamespace = (script: string): string[] => {
  const unshare = isRoot ? ['unshare', '--mount'] : ['unshare', '--mount', '--map-root-user'];
  return [...unshare, 'sh', '-c', `${script} && exec "$@"`, 'sh'];
};

test('[R-startup-explains] a data folder on a read-only file system', async () => {
  await using home = await makeHome();
  const wrap = inMountNamespace(`mount -t tmpfs -o ro none '${home.path}'`);
  const { error, msg } = await refusal(home.path, {}, wrap);
  assert.equal(error, 'home.unusable');
  assert.match(msg, /read-only/);
});

test('[R-startup-explains] a data folder on a full disk', async () => {
  await using home = await makeHome();
  const wrap = inMountNamespace(`mount -t tmpfs -o size=16k none '${home.path}'`);
  const { error, msg } = await refusal(home.path, {}, wrap);
  assert.equal(error, 'home.unusable');
  assert.match(msg, /full/);
});

test('[R-startup-explains] a database that cannot be reached', async () => {
  await using home = await makeHome();
  const { error } = await refusal(home.path, { DATABASE_URL: 'postgresql://user:hunter2@127.0.0.1:1/none' });
  assert.equal(error, 'database.unreachable');
});

test('[R-startup-explains] a port in use: said so, and nothing is left running', async () => {
  await using home = await makeHome();
  const taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve);
  });
  const address = taken.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { error, details } = await refusal(home.path, { HOLDFAST_PORT: String(address.port) });
  assert.equal(error, 'port.in_use');
  assert.equal(details.port, address.port);
  await assert.rejects(stat(join(home.path, 'postgres', 'cluster', 'data', 'postmaster.pid')));
  await new Promise((resolve) => {
    taken.close(resolve);
  });
});

test('[R-one-server-per-home] a second server is refused, and kill -9 of the first leaves no lock', async () => {
  await using home = await makeHome();
  const first = start(home.path);
  await ready(first, home.path);
  assert.equal((await refusal(home.path)).error, 'home.in_use');
  first.kill('SIGKILL');
  await once(first, 'exit');
  const second = start(home.path);
  const { url } = await ready(second, home.path);
  const key = (await readFile(join(home.path, 'credentials'), 'utf8')).trim();
  const answer = await fetch(`${url}/api/whoami`, { headers: { authorization: `Bearer ${key}` } });
  assert.equal(answer.status, 200, 'the key of before does not work any more');
  assert.equal(await stop(second), 0);
});

test('[R-one-server-per-home] what a server leaves: private files, and after a stop nothing that runs', async () => {
  await using home = await makeHome();
  const child = start(home.path, { HOLDFAST_LOG_LEVEL: 'debug' });
  const { url } = await ready(child, home.path);
  for (const name of ['credentials', 'server.json', 'log/server.log', 'postgres/password'])
    assert.equal((await stat(join(home.path, name))).mode & 0o077, 0, `${name} is readable for others`);
  const key = (await readFile(join(home.path, 'credentials'), 'utf8')).trim();
  await (await fetch(`${url}/api/keys`, { headers: { authorization: `Bearer ${key}` } })).text();
  const password = (await readFile(join(home.path, 'postgres/password'), 'utf8')).trim();
  assert.equal(await stop(child), 0);
  await assert.rejects(stat(join(home.path, 'server.json')));
  await assert.rejects(stat(join(home.path, 'postgres/cluster/data/postmaster.pid')));
  const log = await readFile(join(home.path, 'log/server.log'), 'utf8');
  assert.ok(log.includes('the server is ready'));
  for (const secret of [key, key.slice(-32), password]) assert.ok(!log.includes(secret), 'a secret is in the log');
});

test('a stop that comes while the server starts is obeyed', async () => {
  await using home = await makeHome();
  const child = start(home.path);
  await eventually(
    () =>
      stat(join(home.path, 'postgres')).then(
        () => true,
        () => false,
      ),
    'the start is under way',
  );
  assert.equal(await stop(child), 0);
  await assert.rejects(stat(join(home.path, 'postgres/cluster/data/postmaster.pid')));
});
