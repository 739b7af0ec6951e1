import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { checkout } from '../tidy/source-files.ts';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const program = join(checkout, 'apps/cli/src/main.ts');
/** These tests need no machine, so none is made ready. */
const settings = { port: 0, sandbox: { warmTiersMib: [], pool: { least: 0, most: 1 } } };

let home = '';

const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> => {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: home, HOLDFAST_HOME: home, ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
};

/** The one document of a command that must succeed. */
const json = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  const ended = await run([...args, '--json'], env);
  assert.equal(ended.code, 0, ended.stderr);
  return JSON.parse(ended.stdout);
};

/** The code of the problem document of a command that must fail. */
const failure = async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
  const ended = await run([...args, '--json'], env);
  assert.notEqual(ended.code, 0, `${args.join(' ')} succeeded`);
  assert.equal(ended.stdout, '');
  return JSON.parse(ended.stderr).code;
};

before(async () => {
  home = await mkdtemp(join(tmpdir(), 'holdfast-cli-'));
  await writeFile(join(home, 'config.json'), JSON.stringify(settings));
  await json(['up', '--detach', '--wait', '5m']);
});

after(async () => {
  await run(['down']);
  await rm(home, { recursive: true, force: true });
});

test('status tells where the server is and who the key is', async () => {
  const status = await json(['status']);
  assert.equal(status.ready, true);
  assert.equal(status.role, 'owner');
  assert.match(status.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await stat(join(home, 'credentials'))).mode & 0o777, 0o600);
});

test('a key is shown once, works with its role, and works no longer when revoked', async () => {
  const { url } = await json(['status']);
  const made = await run(['key', 'create', '--role', 'viewer', '--name', 'reader']);
  assert.match(made.stdout, /^hf_\S+\n$/);
  const env = { HOLDFAST_URL: url, HOLDFAST_API_KEY: made.stdout.trim() };
  assert.deepEqual((await json(['sandbox', 'ls'], env)).items, []);
  assert.equal(await failure(['key', 'create', '--name', 'more'], env), 'auth.forbidden');
  const { items } = await json(['key', 'ls']);
  const key = items.find((item: { name: string }) => item.name === 'reader');
  assert.ok(!JSON.stringify(items).includes(made.stdout.trim()));
  assert.deepEqual(await json(['key', 'revoke', key.id]), { revoked: [key.id] });
  assert.equal(await failure(['sandbox', 'ls'], env), 'auth.invalid');
});

test("the local server's key is not sent to another server", async () => {
  const seen: (string | undefined)[] = [];
  const { createServer: createHttpServer } = await import('node:http');
  const other = createHttpServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401).end();
  });
  other.listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = other.address();
  assert.ok(typeof address === 'object' && address !== null);
  try {
    assert.equal(await failure(['key', 'ls'], { HOLDFAST_URL: `http://127.0.0.1:${address.port}` }), 'auth.invalid');
    assert.deepEqual(seen, [undefined]);
  } finally {
    other.close();
  }
});

test('[R-one-server-per-home] a second server on the data folder is refused', async () => {
  assert.equal(await failure(['up']), 'home.in_use');
  assert.equal(await failure(['up', '--detach']), 'home.in_use');
});

test('unknown ids and hostile names have their code', async () => {
  assert.equal(await failure(['sandbox', 'get', 'sbx_00000000000000000000000000']), 'resource.not_found');
  assert.equal(await failure(['trace', 'show', 'f'.repeat(32)]), 'trace.not_found');
  assert.equal(await failure(['sandbox', 'create', 'a/b']), 'request.invalid');
  assert.equal(await failure(['sandbox', 'create', 'x'.repeat(10_000)]), 'request.invalid');
  assert.equal(await failure(['sandbox', 'get', '..']), 'request.invalid');
});

test('a server that cannot start says why, with the code it ended with', async () => {
  const blocker = createServer();
  blocker.listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  const address = blocker.address();
  assert.ok(typeof address === 'object' && address !== null);
  const other = join(home, 'second');
  try {
    assert.equal(
      await failure(['up', '--detach', '--port', String(address.port)], { HOLDFAST_HOME: other }),
      'port.in_use',
    );
    await writeFile(join(other, 'config.json'), '{ "port": ');
    assert.equal(await failure(['up', '--detach'], { HOLDFAST_HOME: other }), 'config.invalid');
  } finally {
    blocker.close();
  }
});

test('without a server the help says how to start one', async () => {
  const ended = await run(['sandbox', 'ls'], { HOLDFAST_HOME: join(home, 'third') });
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /^error server\.unreachable: .*\nhelp: Start it with: \.\/holdfast up\n$/);
  assert.deepEqual(await json(['down'], { HOLDFAST_HOME: join(home, 'third') }), { stopped: false });
});
