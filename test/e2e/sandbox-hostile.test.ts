import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Sandbox } from '@holdfast/sdk';
import { assertContinuous, startCounter, ticks } from './setup/counter.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { readUntil, until } from './setup/until.ts';

const bound = { timeout: 240_000 };
const mib = 1_048_576;
const large = process.env['HOLDFAST_TEST_ALL'] === '1' ? 1_024 * mib : 64 * mib;
/** What the server may grow by; what passes through it is many times more. */
const growthBytes = 160 * mib;

let server: SandboxServer;
let box: Sandbox;
let neighbour: Sandbox;

before(async () => {
  server = await SandboxServer.start();
  box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  neighbour = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
  await startCounter(neighbour);
});

after(() => server[Symbol.asyncDispose]());

/** Runs `work` and gives its result and the most memory that the server had meanwhile, in bytes. */
const watchMemory = async <T>(work: Promise<T>): Promise<{ result: T; peak: number }> => {
  let over = false;
  const done = work.finally(() => {
    over = true;
  });
  // Its failure is reported by the await below.
  done.catch(() => undefined);
  let peak = 0;
  await until('the work is done', async () => {
    peak = Math.max(peak, await server.residentBytes());
    return over;
  });
  return { result: await done, peak };
};

/** Nothing has disturbed the other sandbox. */
const assertNeighbourWell = async (): Promise<void> => {
  const before = (await ticks(neighbour)).at(-1)?.count ?? 0;
  const all = await until('the neighbour goes on', async () => {
    const found = await ticks(neighbour);
    return (found.at(-1)?.count ?? 0) > before ? found : null;
  });
  assertContinuous(all);
  assert.equal((await neighbour.info()).notice, null);
};

const assertAllWell = async (): Promise<void> => {
  assert.equal((await box.exec('echo well')).stdout, 'well\n');
  await assertNeighbourWell();
};

test('[R-guest-bounded] endless output is cut in the middle, not kept', bound, async () => {
  const rest = await server.residentBytes();
  const command = `printf first; head -c ${large} /dev/zero | tr '\\0' x; printf last`;
  const { result, peak } = await watchMemory(box.exec(command, { maxOutputBytes: 10_000, timeoutMs: 0 }));
  assert.equal(result.exitCode, 0);
  assert.equal(result.droppedBytes, large + 'firstlast'.length - 10_000);
  assert.ok(result.stdout.startsWith('firstxxx') && result.stdout.endsWith('xxxlast'));
  assert.ok(peak - rest < growthBytes, `${(peak - rest) / mib} MiB`);
});

test('[R-backpressure] a client that does not read stops the program, and memory stays as it is', bound, async () => {
  const rest = await server.residentBytes();
  const program = [
    'import os',
    'n = 0',
    'b = b"x" * 65536',
    'while True:',
    '    n += os.write(1, b)',
    '    open("/dev/shm/written", "w").write(str(n))',
  ];
  const stream = await box.execStream(['python3', '-c', program.join('\n')], { timeoutMs: 0 });
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  const written = async () => Number(await box.readText('/dev/shm/written').catch(() => '0'));
  let last = -1;
  let stalled = 0;
  await until('the program is held back', async () => {
    const now = await written();
    stalled = now > 0 && now === last ? stalled + 1 : 0;
    last = now;
    return stalled >= 20;
  });
  assert.ok(last < 64 * mib, `${last / mib} MiB were written though nobody reads`);
  assert.ok((await server.residentBytes()) - rest < growthBytes);
  await iterator.return?.();
  await until('it is ended', async () => (await box.exec(['pgrep', '-f', 'dev/shm/written'])).exitCode === 1);
});

test('[R-guest-bounded] a fork bomb is held by a limit, and ends with its time', bound, async () => {
  const program = [
    'import os',
    'told = False',
    'while True:',
    '    try: os.fork()',
    '    except OSError:',
    '        if not told: os.write(1, b"held\\n")',
    '        told = True',
  ];
  const bomb = ['python3', '-c', program.join('\n')];
  for await (const event of await box.execStream(bomb, { maxProcesses: 40, timeoutMs: 0 })) {
    if (event.type !== 'stdout') continue;
    assert.equal(Buffer.from(event.data).toString().slice(0, 5), 'held\n');
    await assertAllWell();
    assert.ok(Number((await box.exec('ps ax | grep -c os.fork')).stdout) <= 42);
    break;
  }
  await until('the bomb is gone', async () => (await box.exec('ps ax | grep -c os.for[k]')).stdout === '0\n');
  const second = box.exec(bomb, { timeoutMs: 8_000 });
  // A new process is more than this guest may have room for now, but its agent answers.
  assert.ok((await box.readText('/proc/loadavg')).length > 0);
  await assertNeighbourWell();
  const unlimited = await second;
  assert.ok(unlimited.timedOut || unlimited.outOfMemory);
  await until('the bomb is gone', async () => Number((await box.exec('ps ax | wc -l')).stdout) < 100);
  await assertAllWell();
});

test('[R-guest-bounded] a command that takes too much memory is told so, and nothing else is hurt', bound, async () => {
  const hog = ['python3', '-c', 'b = []\nwhile True: b.append(bytearray(1 << 20))'];
  const limited = await box.exec(hog, { memoryMib: 64 });
  assert.deepEqual([limited.outOfMemory, limited.signal], [true, 'SIGKILL']);
  assert.ok(limited.usage.memoryPeakBytes <= 64 * mib);
  await box.writeFile('/workspace/before', 'before');
  const all = await box.exec(hog, { timeoutMs: 0 });
  assert.deepEqual([all.outOfMemory, all.signal], [true, 'SIGKILL']);
  assert.equal(await box.readText('/workspace/before'), 'before');
  assert.equal((await box.exec('true')).outOfMemory, false);
  await assertAllWell();
});

test(
  '[R-guest-bounded] a full disk is an error of the write, and is over when there is room again',
  bound,
  async () => {
    await box.exec(
      'for size in 4096 1024 256 64 16 4 1; do i=0; while fallocate -l ${size}M /workspace/fill-$size-$i 2>/dev/null; do i=$((i+1)); done; rm -f /workspace/fill-$size-$i; done',
    );
    const copy = await box.exec(['dd', 'if=/dev/zero', 'of=/workspace/more', 'bs=1M', 'count=20']);
    assert.equal(copy.exitCode, 1);
    assert.match(copy.stderr, /No space left on device/);
    await assert.rejects(box.writeFile('/workspace/file', new Uint8Array(4 * mib)), { code: 'guest.no_space' });
    await assert.rejects(box.stat('/workspace/file'), { code: 'guest.not_found' });
    await assertAllWell();
    await box.standby();
    await assert.rejects(box.writeFile('/workspace/file', new Uint8Array(4 * mib)), { code: 'guest.no_space' });
    await box.exec('rm -f /workspace/fill-* /workspace/more');
    assert.deepEqual(await box.writeFile('/workspace/file', 'there is room'), { size: 13 });
    await assertAllWell();
  },
);

test('[R-guest-bounded] a guest that kills everything in it does not kill its agent', bound, async () => {
  await box.spawn('bystander', 'sleep 9000');
  const killed = await box.exec('kill -9 -1; kill -9 1; echo survived', { user: 'root' });
  assert.ok(killed.signal === 'SIGKILL' || killed.stdout === 'survived\n');
  await assertAllWell();
  await until('its end is noticed', async () => (await box.processes()).every(({ state }) => state === 'exited'));
  await box.stopProcess('bystander');
});

test('[R-guest-bounded] a guest that resets its machine loses its processes, not its files', bound, async () => {
  await box.writeFile('/workspace/kept', 'kept');
  await box.spawn('lost', 'sleep 9000');
  const call = box.exec('echo b > /proc/sysrq-trigger; sleep 60', { timeoutMs: 0 });
  await assert.rejects(call, { code: 'guest.disconnected' });
  const { notice } = await until('its end is noticed', async () => {
    const info = await box.info();
    return info.state === 'stopped' ? info : null;
  });
  assert.match(notice ?? '', /lost its processes/);
  assert.equal(await box.readText('/workspace/kept'), 'kept');
  assert.deepEqual(await box.processes(), []);
  const types = (await box.events({ limit: 1000 })).map(({ type }) => type);
  assert.deepEqual(types.slice(-2), ['machine_lost', 'cold_boot']);
  await assertAllWell();
  const shell = await box.shell({ command: 'echo up; cat' });
  await readUntil(shell.output(), 'up');
  shell.close();
});
