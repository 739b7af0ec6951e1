import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, Sandbox } from '@holdfast/sdk';
import { assertContinuous, startCounter, ticks, ticksBeyond } from './setup/counter.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { readUntil, until } from './setup/until.ts';

const bound = { timeout: 240_000 };
/** More than any answer takes here, less than the clock is put wrong by. */
const clockToleranceMs = 60_000;

let server: SandboxServer;

before(async () => {
  server = await SandboxServer.start();
  await server.database();
});

after(() => server[Symbol.asyncDispose]());

const standsBy = (box: Sandbox): Promise<true> =>
  until(`${box.idOrName} stands by`, async () => (await box.info()).state === 'standby');

const machineOf = async (box: Sandbox): Promise<string | null> => {
  const { kysely } = await server.database();
  const { id } = await box.info();
  const row = await kysely.selectFrom('sandboxes').select('machine_id').where('id', '=', id).executeTakeFirstOrThrow();
  return row.machine_id;
};

test(
  '[R-idle-standby] a sandbox without activity stands by on its own, and only files are left of it',
  bound,
  async () => {
    const box = await Sandbox.create(server.client, { name: 'idle', idleTimeoutMs: 400, labels: { purpose: 'test' } });
    await standsBy(box);
    assert.equal(await machineOf(box), null);
    const { kysely } = await server.database();
    const used = await kysely.selectFrom('sandboxes').select('id').where('machine_id', 'is not', null).execute();
    assert.deepEqual(used, []);
    await until('only the machine of the pool is left', async () => (await server.machines()).length <= 1);
    assert.deepEqual(await box.why(), { state: 'standby', awake: false, reasons: [], standbyAt: null });
    const { storedBytes, labels, notice } = await box.info();
    assert.ok(storedBytes > 0);
    assert.deepEqual([labels, notice], [{ purpose: 'test' }, null]);
    assert.equal(await box.readText('/etc/hostname').then((text) => text.length > 0), true);
    assert.deepEqual((await box.events()).map(({ type }) => type).slice(0, 3), ['created', 'standby', 'resumed']);
    await box.delete();
  },
);

test('[R-idle-standby] nothing that goes on is interrupted by the idle time-out', bound, async () => {
  const box = await Sandbox.create(server.client, { idleTimeoutMs: 200 });
  const { id } = await box.info();
  // Ten times the time-out, in time of the guest, without a byte to be seen.
  const result = await box.exec('sleep 2; echo done');
  const endedAt = Date.now();
  assert.equal(result.stdout, 'done\n');
  const during = (await box.events()).filter(({ type, at }) => type === 'standby' && Date.parse(at) < endedAt - 1_500);
  // Before the exec there may have been one, for which it was resumed.
  assert.ok(during.length <= 1, JSON.stringify(during));
  assert.equal((await box.info()).id, id);
  await box.delete();
});

test(
  '[R-idle-standby] each thing that holds a sandbox awake is named, and standby is refused while it lasts',
  bound,
  async () => {
    const box = await Sandbox.create(server.client, { idleTimeoutMs: 60_000 });
    await startCounter(box);
    const controller = new AbortController();
    const { signal } = controller;
    const watch = await box.watch('/tmp', {}, { signal });
    const shell = await box.shell({ command: 'echo up; sleep 5000' });
    await readUntil(shell.output(), 'up');
    await box.spawn('listener', ['nc', '-lk', '127.0.0.1', '8200']);
    const forward = await until('the port is open', () => box.forward(8200).catch(() => null));
    const logs = await box.logs('counter', { follow: true }, { signal });
    const reading = (async () => {
      for await (const _ of logs);
    })().catch(() => undefined);
    const exec = box.exec('sleep 5001', { timeoutMs: 0 }, { signal }).catch(() => undefined);
    async function* slow() {
      yield new Uint8Array(10);
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw new Error('given up');
    }
    const write = box.writeFile('/tmp/slow', slow(), {}, { signal }).catch(() => undefined);
    await box.keepAlive(3_600);
    const kinds = ['exec', 'forward', 'keep_alive', 'request', 'shell', 'stream', 'watch'];
    const why = await until('all of it goes on', async () => {
      const found = await box.why();
      return new Set(found.reasons.map(({ kind }) => kind)).size >= kinds.length ? found : null;
    });
    assert.deepEqual([...new Set(why.reasons.map(({ kind }) => kind))].sort(), kinds);
    assert.deepEqual([why.state, why.awake, why.standbyAt], ['running', true, null]);
    const detailOf = (kind: string) => why.reasons.find((reason) => reason.kind === kind)?.detail;
    assert.deepEqual(
      [detailOf('exec'), detailOf('forward'), detailOf('watch'), detailOf('shell')],
      ['sleep 5001', 'port 8200', '/tmp', 'echo up; sleep 5000'],
    );
    await assert.rejects(box.standby(), (error) => {
      assert.ok(error instanceof HoldfastError);
      assert.equal(error.code, 'sandbox.awake');
      assert.ok(JSON.stringify(error.details).includes('sleep 5001'));
      return true;
    });
    controller.abort();
    shell.close();
    forward.close();
    await watch[Symbol.asyncDispose]();
    await Promise.all([reading, exec, write]);
    await until('only the keep-alive is left', async () => {
      const { reasons } = await box.why();
      return reasons.length === 1 && reasons[0]?.kind === 'keep_alive';
    });
    const { standbyAt } = await box.why();
    assert.ok(Date.parse(standbyAt ?? '') > Date.now() + 3_000_000);
    await assert.rejects(box.standby(), { code: 'sandbox.awake' });
    await box.keepAlive(0);
    const { reasons } = await box.why();
    assert.deepEqual(
      reasons.map(({ kind }) => kind),
      ['recent_activity'],
    );
    assert.notEqual(reasons[0]?.until, null);
    assert.equal((await box.standby()).state, 'standby');
    await box.delete();
  },
);

test('[R-idle-standby] when a keep-alive runs out, the sandbox stands by', bound, async () => {
  const box = await Sandbox.create(server.client, { idleTimeoutMs: 200 });
  await box.keepAlive(2);
  const asked = Date.now();
  assert.equal((await box.why()).reasons[0]?.kind, 'keep_alive');
  await standsBy(box);
  const events = await box.events();
  const stoodBy = events.findLast(({ type }) => type === 'standby');
  assert.ok(Date.parse(stoodBy?.at ?? '') > asked + 1_500, 'not before the keep-alive ran out');
  await box.keepAlive(30);
  assert.equal((await box.info()).state, 'running');
  await box.delete();
});

test('[R-resume-intact] processes go on where they were, as if there had been no standby', bound, async () => {
  const box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  await startCounter(box);
  await box.exec('echo unsynced > /tmp/file; mkdir -p /dev/shm && echo memory > /dev/shm/file');
  let last = 0;
  for (let round = 0; round < 3; round++) {
    const before = (await ticksBeyond(box, last + 5)).at(-1);
    assert.equal((await box.standby()).state, 'standby');
    assert.equal((await box.info()).state, 'standby', 'to look at it does not wake it');
    last = before?.count ?? 0;
    assertContinuous(await ticksBeyond(box, last + 5));
  }
  assert.equal(await box.readText('/tmp/file'), 'unsynced\n');
  assert.equal(await box.readText('/dev/shm/file'), 'memory\n');
  assert.equal((await box.standby()).state, 'standby');
  assert.equal((await box.resume()).state, 'running');
  assert.equal((await box.resume()).state, 'running');
  await box.delete();
  await assert.rejects(box.info(), { code: 'resource.not_found' });
});

test('[R-restore-contract] the clock is right after standby, whatever it was before', bound, async () => {
  const box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  await startCounter(box);
  await box.exec('date -s @1000000000');
  await until('the counter has seen the wrong time', async () => ((await ticks(box)).at(-1)?.timeMs ?? 0) < 1.1e12);
  const before = (await ticks(box)).length;
  await box.standby();
  await box.resume();
  const all = await ticksBeyond(box, before + 5);
  assert.ok(Math.abs((all.at(-1)?.timeMs ?? 0) - Date.now()) < clockToleranceMs);
  assertContinuous(all);
  const { stdout } = await box.exec('date +%s');
  assert.ok(Math.abs(Number(stdout) * 1_000 - Date.now()) < clockToleranceMs, stdout);
  await box.delete();
});

test('[R-idle-standby] a forced standby lets a running command go on in the background', bound, async () => {
  const box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  const command = 'echo $$ > /tmp/pid; n=0; while :; do n=$((n+1)); echo "n$n"; echo $n > /tmp/n; sleep 0.05; done';
  const broken = assert.rejects(box.exec(command, { timeoutMs: 0 }), {
    code: 'guest.cancelled',
    message: /background process exec-\d+/,
  });
  const count = async () => Number(await box.readText('/tmp/n').catch(() => '0'));
  await until('it counts', async () => (await count()) > 3);
  await assert.rejects(box.standby(), { code: 'sandbox.awake' });
  const before = await count();
  assert.equal((await box.standby({ force: true })).state, 'standby');
  await broken;
  const pid = Number(await box.readText('/tmp/pid'));
  await until('it counts on', async () => (await count()) > before + 3);
  const [found, ...more] = await box.processes();
  assert.deepEqual([found?.name, found?.pid, found?.state, more.length], [`exec-${pid}`, pid, 'running', 0]);
  assert.match(await (await box.logs(`exec-${pid}`)).text(), /n\d+\n$/);
  assert.equal((await box.stopProcess(`exec-${pid}`)).signal, 'SIGTERM');
  await box.delete();
});

test('[R-resume-intact] a server that is stopped and started again loses nothing', bound, async () => {
  const running = await Sandbox.create(server.client, { name: 'running', idleTimeoutMs: 0 });
  const sleeping = await Sandbox.create(server.client, { name: 'sleeping', idleTimeoutMs: 0 });
  await startCounter(running);
  await running.writeFile('/workspace/kept', 'kept');
  await sleeping.writeFile('/workspace/kept', 'kept too');
  const before = (await ticksBeyond(running, 5)).length;
  await sleeping.standby();
  const ids = (await server.client.listSandboxes({})).items.map(({ id }) => id);
  await server.restart();
  const { client } = server;
  assert.deepEqual(
    (await client.listSandboxes({})).items.map(({ id }) => id),
    ids,
  );
  const again = client.sandbox('running');
  assertContinuous(await ticksBeyond(again, before + 5));
  assert.equal(await again.readText('/workspace/kept'), 'kept');
  assert.equal(await client.sandbox('sleeping').readText('/workspace/kept'), 'kept too');
  await server.stop();
  assert.deepEqual(await server.machines(), [], 'no machine outlives a server that stopped in order');
  await server.run();
  for (const name of ['running', 'sleeping']) {
    const box = server.client.sandbox(name);
    assert.match(await box.readText('/workspace/kept'), /^kept/);
    await box.delete();
  }
});
