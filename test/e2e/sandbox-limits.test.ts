import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { silentLog, systemClock } from '@holdfast/core';
import { openIdentity } from '@holdfast/identity';
import { type Client, HoldfastError, Sandbox } from '@holdfast/sdk';
import { assertContinuous, startCounter, ticksBeyond } from './setup/counter.ts';
import { assertRefused } from './setup/refusals.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { until } from './setup/until.ts';

const bound = { timeout: 300_000 };

let server: SandboxServer;

before(async () => {
  server = await SandboxServer.start();
});

after(() => server[Symbol.asyncDispose]());

const filesOfStore = async (): Promise<string[]> => {
  const store = join(server.home, 'sandboxes/store');
  const folders = await readdir(store);
  return (await Promise.all(folders.map((folder) => readdir(join(store, folder))))).flat();
};

/** A client of another workspace, and that workspace's id. */
const otherWorkspace = async (name: string): Promise<{ client: Client; workspaceId: string }> => {
  const database = await server.database();
  const identity = await openIdentity({ database, clock: systemClock, log: silentLog });
  const client = server.clientOf((await identity.issueOwnerKey('test', name)).reveal());
  await identity.close();
  return { client, workspaceId: (await client.whoami({})).workspaceId };
};

const limitWorkspace = async (
  workspaceId: string,
  quota: { sandboxes: number; running: number; memoryMib: number },
): Promise<void> => {
  const { kysely } = await server.database();
  const { sandboxes, running, memoryMib } = quota;
  await kysely
    .insertInto('sandbox_quotas')
    .values({
      workspace_id: workspaceId,
      ...{ max_sandboxes: sandboxes, max_running: running, max_running_memory_mib: memoryMib },
    })
    .execute();
};

/** Codes of the calls that failed; everything else succeeded. */
const codesOf = async (calls: readonly Promise<unknown>[]): Promise<string[]> => {
  const codes: string[] = [];
  for (const outcome of await Promise.allSettled(calls)) {
    if (outcome.status === 'fulfilled') continue;
    assert.ok(outcome.reason instanceof HoldfastError, String(outcome.reason));
    codes.push(outcome.reason.code);
  }
  return codes;
};

test('a name is unique in its workspace, and free again after deletion', bound, async () => {
  const { client } = server;
  const box = await Sandbox.create(client, { name: 'twin' });
  await assert.rejects(Sandbox.create(client, { name: 'twin' }), { code: 'sandbox.name_taken' });
  const { client: other } = await otherWorkspace('neighbour');
  const theirs = await Sandbox.create(other, { name: 'twin' });
  assert.notEqual((await other.sandbox('twin').info()).id, (await client.sandbox('twin').info()).id);
  await box.delete();
  const codes = await codesOf([1, 2, 3].map(() => Sandbox.create(client, { name: 'twin' })));
  assert.deepEqual(codes, ['sandbox.name_taken', 'sandbox.name_taken'], 'one of three at once gets it');
  await client.sandbox('twin').delete();
  assert.equal((await theirs.exec('echo fine')).stdout, 'fine\n');
  await theirs.delete();
  const { items } = await client.listSandboxes({});
  assert.deepEqual(items, []);
});

test('[R-isolation] unknown and foreign sandboxes do not exist, and are not woken', bound, async () => {
  const box = await Sandbox.create(server.client, { name: 'private' });
  await box.standby();
  const { client: foreign } = await otherWorkspace('foreign');
  const unknown = ['sbx_00000000000000000000000000', 'nobody', 'sbx_', 'x'.repeat(128)];
  for (const name of [...unknown, 'private', (await box.info()).id]) {
    const other = foreign.sandbox(name);
    await assertRefused(
      ['resource.not_found'],
      [
        () => other.info(),
        () => other.exec('true'),
        () => other.readText('/etc/hostname'),
        () => other.resume(),
        () => other.standby({ force: true }),
        () => other.fork(),
        () => other.keepAlive(10),
        () => other.events(),
        () => other.why(),
        () => other.shell(),
        () => other.forward(80),
        () => other.delete(),
      ],
    );
  }
  assert.equal((await box.info()).state, 'standby');
  await box.delete();
});

test('[R-input-bounded] names, ids and numbers out of range are refused', bound, async () => {
  const { client } = server;
  const long = 'n'.repeat(10_000);
  const names = ['', 'a/b', '../x', 'a\u0000b', 'a\nb', '\u001b[31m', 'Ünï', 'A', '-a', 'a-', 'a b', long];
  const inputs = [
    ...names.map((name) => ({ name })),
    ...['../base', '', 'a/b', long].map((template) => ({ template })),
    ...[-1, Number.NaN, 0.5, 1e300].map((idleTimeoutMs) => ({ idleTimeoutMs })),
    ...[-1, Number.NaN, 0.5, 1e300].map((maxLifetimeMs) => ({ maxLifetimeMs })),
    { labels: { ['k'.repeat(65)]: 'v' } },
    { labels: { k: 'v'.repeat(257) } },
  ];
  await assertRefused(
    ['request.invalid'],
    inputs.map((input) => () => Sandbox.create(client, input)),
  );
  for (const memoryMib of [0, -512, 513, 1e12, null, '512']) {
    const answer = await fetch(`${server.url}/api/sandboxes`, {
      method: 'POST',
      headers: { authorization: await authorization(), 'content-type': 'application/json' },
      body: JSON.stringify({ memoryMib }),
    });
    assert.equal(answer.status, 400, String(memoryMib));
  }
  await assert.rejects(Sandbox.create(client, { template: 'no-such-template' }), { code: 'template.not_found' });
  const box = await Sandbox.create(client);
  await assertRefused(
    ['request.invalid'],
    [
      ...[-1, Number.NaN, 0.5, 1e300].map((seconds) => () => box.keepAlive(seconds)),
      ...[-1, Number.NaN, 1e300].map((after) => () => box.events({ after })),
      ...[0, -1, 1_001, Number.NaN].map((limit) => () => box.events({ limit })),
      ...[0, -1, 1_001, Number.NaN].map((limit) => () => client.listSandboxes({ query: { limit } })),
      () => client.sandbox(long).info(),
    ],
  );
  await assertRefused(
    ['request.invalid', 'resource.not_found'],
    names.filter((name) => name !== '').map((name) => () => client.sandbox(name).info()),
  );
  await box.delete();
  assert.deepEqual((await client.listSandboxes({})).items, []);
});

const authorization = async (): Promise<string> => {
  const { readFile } = await import('node:fs/promises');
  return `Bearer ${(await readFile(join(server.home, 'credentials'), 'utf8')).trim()}`;
};

test('[R-quota] a workspace has no more sandboxes than its quota', bound, async () => {
  const { client, workspaceId } = await otherWorkspace('small');
  await limitWorkspace(workspaceId, { sandboxes: 3, running: 64, memoryMib: 65_536 });
  const codes = await codesOf(Array.from({ length: 5 }, () => Sandbox.create(client)));
  assert.deepEqual(codes, ['quota.exceeded', 'quota.exceeded']);
  const { items } = await client.listSandboxes({});
  assert.equal(items.length, 3);
  const [first] = items;
  assert.ok(first !== undefined);
  await assert.rejects(client.sandbox(first.id).fork(), { code: 'quota.exceeded' });
  await client.sandbox(first.id).delete();
  const codesOfForks = await codesOf(items.slice(1).map(({ id }) => client.sandbox(id).fork()));
  assert.deepEqual(codesOfForks, ['quota.exceeded'], 'there is room for one fork');
  for (const { id } of (await client.listSandboxes({})).items) await client.sandbox(id).delete();
});

test('[R-quota] idle sandboxes make room for those that are wanted, busy ones never', bound, async () => {
  const { client, workspaceId } = await otherWorkspace('busy');
  await limitWorkspace(workspaceId, { sandboxes: 10, running: 2, memoryMib: 65_536 });
  const make = () => Sandbox.create(client, { idleTimeoutMs: 3_600_000 });
  const idle = await make();
  const busy = await make();
  const stream = (await busy.execStream('echo on; exec sleep 4100', { timeoutMs: 0 }))[Symbol.asyncIterator]();
  await stream.next();
  const third = await make();
  const states = async () => Promise.all([idle, busy, third].map(async (box) => (await box.info()).state));
  assert.deepEqual(await states(), ['standby', 'running', 'running']);
  const second = (await third.execStream('echo on; exec sleep 4100', { timeoutMs: 0 }))[Symbol.asyncIterator]();
  await second.next();
  await assertRefused(['quota.exceeded'], [() => idle.exec('true'), make, () => idle.resume()]);
  assert.deepEqual(await states(), ['standby', 'running', 'running']);
  await second.return?.();
  await until('one is idle again', () =>
    idle.exec('true').then(
      () => true,
      () => false,
    ),
  );
  assert.deepEqual(await states(), ['running', 'running', 'standby']);
  await stream.return?.();
  for (const box of [idle, busy, third]) await box.delete();
});

test('[R-quota] memory counts, not only the number of sandboxes', bound, async () => {
  const { client, workspaceId } = await otherWorkspace('narrow');
  await limitWorkspace(workspaceId, { sandboxes: 10, running: 64, memoryMib: 1_024 });
  await assert.rejects(Sandbox.create(client, { memoryMib: 2_048 }), { code: 'quota.exceeded' });
  const boxes = await Promise.all([1, 2].map(() => Sandbox.create(client, { idleTimeoutMs: 3_600_000 })));
  await Promise.all(boxes.map((box) => box.keepAlive(600)));
  await assert.rejects(Sandbox.create(client), { code: 'quota.exceeded' });
  for (const box of boxes) await box.delete();
});

test('a sandbox is deleted with all it has when its lifetime is over', bound, async () => {
  const filesBefore = await filesOfStore();
  const box = await Sandbox.create(server.client, { maxLifetimeMs: 1_500, idleTimeoutMs: 0 });
  const stream = (await box.execStream('echo on; exec sleep 4101', { timeoutMs: 0 }))[Symbol.asyncIterator]();
  await stream.next();
  await until('it is gone', () =>
    box.info().then(
      () => false,
      (error: HoldfastError) => error.code === 'resource.not_found',
    ),
  );
  await assert.rejects(async () => {
    for (let end = await stream.next(); end.done !== true; end = await stream.next());
  });
  await until('its files are gone', async () => (await filesOfStore()).length === filesBefore.length);
  const next = await Sandbox.create(server.client);
  assert.equal((await next.exec('echo fine')).stdout, 'fine\n');
  await next.delete();
});

test('another memory tier is frozen on its first use', bound, async () => {
  const box = await Sandbox.create(server.client, { memoryMib: 1_024, idleTimeoutMs: 0 });
  const { memoryMib, vcpus } = await box.info();
  assert.deepEqual([memoryMib, vcpus], [1_024, 1]);
  const total = Number((await box.exec("awk '/^MemTotal/ { print $2 }' /proc/meminfo")).stdout) / 1_024;
  assert.ok(total > 900 && total <= 1_024, `${total} MiB`);
  await box.spawn('holder', [
    'python3',
    '-c',
    'b = bytearray(700 << 20); print("held", flush=True); import time; time.sleep(9999)',
  ]);
  await until('it holds its memory', async () => (await (await box.logs('holder')).text()) === 'held\n');
  await box.standby();
  assert.deepEqual(
    (await box.processes()).map(({ state }) => state),
    ['running'],
  );
  const [child] = await box.fork();
  assert.equal((await child?.info())?.memoryMib, 1_024);
  await child?.delete();
  await box.delete();
});

test('[R-resume-intact] a sandbox of two processors that are both busy stands by and comes back', bound, async () => {
  const box = await Sandbox.create(server.client, { memoryMib: 2_048, idleTimeoutMs: 0 });
  assert.equal((await box.exec('nproc')).stdout, '2\n');
  await startCounter(box);
  await box.spawn('busy', 'while :; do :; done & while :; do :; done');
  let last = 0;
  for (let round = 0; round < 3; round++) {
    last = (await ticksBeyond(box, last + 3)).length;
    assert.equal((await box.standby()).state, 'standby');
  }
  const [child] = await box.fork();
  assert.ok(child !== undefined);
  for (const each of [box, child]) {
    assertContinuous(await ticksBeyond(each, last + 3));
    await each.delete();
  }
});
