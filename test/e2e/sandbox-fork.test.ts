import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Sandbox } from '@holdfast/sdk';
import { assertContinuous, startCounter, ticks, ticksBeyond } from './setup/counter.ts';
import { assertRefused } from './setup/refusals.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { until } from './setup/until.ts';

const bound = { timeout: 240_000 };

let server: SandboxServer;

before(async () => {
  server = await SandboxServer.start();
});

after(() => server[Symbol.asyncDispose]());

/** Appends the host name of its own machine to a file, as often as it can. */
const writer = `
import socket, time
while True:
    with open("/workspace/names", "a") as f: f.write(socket.gethostname() + "\\n")
    time.sleep(0.05)
`;

interface Identity {
  readonly hostname: string;
  readonly machineId: string;
}

const identityOf = async (box: Sandbox): Promise<Identity> => {
  const { stdout } = await box.exec('hostname; cat /etc/machine-id');
  const [hostname = '', machineId = ''] = stdout.split('\n');
  assert.match(machineId, /^[0-9a-f]{32}$/);
  return { hostname, machineId };
};

/** Names that the writer of this sandbox has left in its file, without repetition and in order. */
const namesWritten = async (box: Sandbox): Promise<string[]> => {
  const lines = (await box.readText('/workspace/names')).trimEnd().split('\n');
  return lines.filter((line, i) => line !== lines[i - 1]);
};

const filesOfStore = async (): Promise<string[]> => {
  const store = join(server.home, 'sandboxes/store');
  const folders = await readdir(store);
  return (await Promise.all(folders.map((folder) => readdir(join(store, folder))))).flat();
};

/** Nothing but the sandboxes given may be left, and when there are none, no file either. */
const removeAll = async (boxes: readonly Sandbox[]): Promise<void> => {
  for (const box of boxes) await box.delete();
  assert.deepEqual((await server.client.listSandboxes({})).items, []);
  assert.deepEqual(await filesOfStore(), []);
};

test('[R-fork-isolated] forks of a running sandbox go on from the same instant, each on its own', bound, async () => {
  const parent = await Sandbox.create(server.client, { name: 'parent', idleTimeoutMs: 0 });
  await startCounter(parent);
  await parent.spawn('writer', ['python3', '-c', writer]);
  await parent.writeFile('/workspace/before', 'before');
  const atFork = (await ticksBeyond(parent, 10)).length;
  await until('the writer has begun', () =>
    parent.stat('/workspace/names').then(
      () => true,
      () => false,
    ),
  );
  const children = await parent.fork({ count: 2, name: 'child' });
  const infos = await Promise.all(children.map((child) => child.info()));
  const { id: parentId, state } = await parent.info();
  assert.equal(state, 'running');
  assert.deepEqual(
    infos.map((info) => [info.name, info.parentId, info.memoryMib]),
    [
      ['child-1', parentId, 512],
      ['child-2', parentId, 512],
    ],
  );
  const family = [parent, ...children];
  const identities = await Promise.all(family.map(identityOf));
  for (const field of ['hostname', 'machineId'] as const)
    assert.equal(new Set(identities.map((identity) => identity[field])).size, 3, field);

  const lives = await Promise.all(family.map((box) => ticksBeyond(box, atFork + 10)));
  for (const life of lives) assertContinuous(life);
  assert.equal(new Set(lives.map(([first]) => `${first?.pid} ${first?.secret}`)).size, 1, 'it is one process');
  const last = Math.min(...lives.map((life) => life.length));
  // What was drawn before the fork is the same in all of them, and so marks where it was.
  const drawn = (count: number) => new Set(lives.map((life) => life[count]?.random)).size;
  assert.equal(drawn(atFork - 1), 1);
  assert.equal(drawn(last - 1), 3, 'each draws its own random numbers');

  const [own = ''] = identities.map(({ hostname }) => hostname);
  await until('each has written its own name', async () => {
    const written = await Promise.all(family.map(namesWritten));
    return written.every((names, i) => names.at(-1) === identities[i]?.hostname);
  });
  const written = await Promise.all(family.map(namesWritten));
  for (const [i, names] of written.entries()) {
    const { hostname = '' } = identities[i] ?? {};
    assert.deepEqual(names, hostname === own ? [own] : [own, hostname], 'no writes of another sandbox');
  }

  for (const box of family) assert.equal(await box.readText('/workspace/before'), 'before');
  for (const [i, box] of family.entries()) await box.writeFile('/workspace/mine', `of ${i}`);
  for (const [i, box] of family.entries()) assert.equal(await box.readText('/workspace/mine'), `of ${i}`);

  // The saved memory that forks share must not be mixed up with what the parent saves later.
  for (const box of family) {
    const before = (await ticks(box)).length;
    assert.equal((await box.standby()).state, 'standby');
    const life = await ticksBeyond(box, before + 5);
    assertContinuous(life);
  }
  await parent.delete();
  for (const [i, child] of children.entries()) {
    await child.standby();
    assert.equal(await child.readText('/workspace/mine'), `of ${i + 1}`);
    assert.equal(await child.readText('/workspace/before'), 'before');
    assertContinuous(await ticks(child));
  }
  await removeAll(children);
});

test('[R-fork-isolated] forks of a sandbox that stands by, and forks of forks', bound, async () => {
  const parent = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  await startCounter(parent);
  await parent.exec('echo 1 > /workspace/generation');
  await ticksBeyond(parent, 5);
  await parent.standby();
  const [child, sibling] = await parent.fork({ count: 2 });
  assert.ok(child !== undefined && sibling !== undefined);
  for (const box of [parent, child, sibling]) {
    assert.equal((await box.info()).state, 'standby', 'a fork of what stands by wakes nothing');
    assert.equal((await box.why()).awake, false);
  }
  const atFork = (await ticks(child)).length;
  await child.exec('echo 2 > /workspace/generation');
  await ticksBeyond(child, atFork + 5);
  const [grandchild] = await child.fork({ name: 'grandchild' });
  assert.ok(grandchild !== undefined);
  await child.exec('echo changed > /workspace/generation');
  await grandchild.exec('echo 3 >> /workspace/generation');
  await child.standby();
  const [sleeper] = await child.fork();
  assert.ok(sleeper !== undefined);
  const family = [parent, sibling, child, grandchild, sleeper];
  const generations = await Promise.all(family.map((box) => box.readText('/workspace/generation')));
  assert.deepEqual(generations, ['1\n', '1\n', 'changed\n', '2\n3\n', 'changed\n']);
  const lives = await Promise.all(family.map((box) => ticks(box)));
  for (const life of lives) assertContinuous(life);
  assert.equal(new Set(lives.map(([first]) => first?.secret)).size, 1);
  const hostnames = (await Promise.all(family.map(identityOf))).map(({ hostname }) => hostname);
  assert.equal(new Set(hostnames).size, family.length);
  assert.equal((await grandchild.info()).name, 'grandchild');
  await removeAll([child, parent, sleeper, sibling, grandchild]);
});

test('[R-input-bounded] a fork that is refused leaves nothing behind', bound, async () => {
  const parent = await Sandbox.create(server.client, { name: 'only', idleTimeoutMs: 0 });
  await startCounter(parent);
  const files = (await filesOfStore()).sort();
  await assertRefused(
    ['request.invalid'],
    [0, -1, 101, 1.5, Number.NaN, 1e300].map((count) => () => parent.fork({ count })),
  );
  await assertRefused(['request.invalid'], [() => parent.fork({ name: 'Not/Allowed' })]);
  await assertRefused(
    ['sandbox.name_taken'],
    [() => parent.fork({ name: 'only' }), () => parent.standby().then(() => parent.fork({ name: 'only' }))],
  );
  assert.equal((await server.client.listSandboxes({})).items.length, 1);
  assertContinuous(await ticks(parent));
  await parent.standby();
  const now = await filesOfStore();
  assert.deepEqual(
    files.filter((file) => !now.includes(file)),
    [],
  );
  // A standby adds its memory and nothing else.
  assert.deepEqual(
    now.filter((file) => file.startsWith('dsk_')),
    files.filter((file) => file.startsWith('dsk_')),
  );
  await removeAll([parent]);
});
