import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Sandbox } from '@holdfast/sdk';
import { assertRefused } from './setup/refusals.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { readUntil, until } from './setup/until.ts';

const bound = { timeout: 180_000 };

let server: SandboxServer;
let box: Sandbox;

before(async () => {
  server = await SandboxServer.start();
  box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
});

after(() => server[Symbol.asyncDispose]());

/** Whether a process with exactly this command line runs in the sandbox. */
const runs = async (commandLine: string): Promise<boolean> =>
  (await box.exec(['pgrep', '-fx', commandLine])).exitCode === 0;

test('argv reaches the program as it is, without a shell', bound, async () => {
  const result = await box.exec(['printf', '<%s>', 'a b', '$HOME', '*', "it's", 'ünï', '']);
  assert.equal(result.stdout, "<a b><$HOME><*><it's><ünï><>");
  assert.equal(result.exitCode, 0);
  assert.equal(result.signal, null);
});

test('a shell command has the environment, folder and user that were asked for', bound, async () => {
  const command = 'echo "$GREETING|$PWD|$(id -un)|$(id -u)|$HOME"';
  const env = { GREETING: 'grüß "dich"' };
  const result = await box.exec(command, { env, cwd: '/var/tmp', user: 'agent' });
  assert.equal(result.stdout, 'grüß "dich"|/var/tmp|agent|1000|/home/agent\n');
});

test('standard input, output and error are separate, and the exit code is the program’s', bound, async () => {
  const result = await box.exec('cat; echo problem >&2; exit 3', { stdin: 'line 1\nline 2' });
  assert.deepEqual(
    [result.stdout, result.stderr, result.exitCode, result.timedOut, result.outOfMemory],
    ['line 1\nline 2', 'problem\n', 3, false, false],
  );
});

test('the end by a signal is told by its name', bound, async () => {
  const result = await box.exec('kill -USR1 $$');
  assert.deepEqual([result.exitCode, result.signal], [null, 'SIGUSR1']);
});

test('usage tells the time, processor and memory that the command took', bound, async () => {
  const { usage } = await box.exec(['python3', '-c', 'b = bytearray(40 << 20); print(len(b))']);
  assert.ok(usage.memoryPeakBytes > 40 << 20, `${usage.memoryPeakBytes} bytes at most`);
  assert.ok(usage.cpuUserMs + usage.cpuSystemMs > 0);
  assert.ok(usage.elapsedMs > 0);
});

test('[R-exec-ends] a time-out kills the whole tree, also what left the process group', bound, async () => {
  const command = 'setsid sleep 4001 & (sleep 4002 & wait) & nohup sleep 4003 & echo begun; wait';
  const result = await box.exec(command, { timeoutMs: 1_500 });
  assert.equal(result.timedOut, true);
  assert.equal(result.stdout, 'begun\n');
  for (const seconds of [4001, 4002, 4003]) {
    await until(`sleep ${seconds} is gone`, async () => !(await runs(`sleep ${seconds}`)));
  }
});

test('streamed output comes as it is made, and ends with the result', bound, async () => {
  const stream = await box.execStream('echo one; read line; echo "$line" >&2; exit 7', { stdin: 'two\n' });
  const seen: string[] = [];
  for await (const event of stream) {
    if (event.type === 'started') assert.ok(event.pid > 1);
    else if (event.type === 'exit') assert.equal(event.result.exitCode, 7);
    else seen.push(`${event.type} ${Buffer.from(event.data).toString()}`);
  }
  assert.deepEqual(seen.sort(), ['stderr two\n', 'stdout one\n']);
});

test('[R-exec-ends] leaving a stream kills its command', bound, async () => {
  for await (const event of await box.execStream('echo ready; exec sleep 4004')) {
    if (event.type === 'stdout') break;
  }
  await until('the command is gone', async () => !(await runs('sleep 4004')));
});

test('[R-exec-ends] breaking off the request kills its command', bound, async () => {
  const controller = new AbortController();
  const call = box.exec('exec sleep 4005', {}, { signal: controller.signal });
  const failed = assert.rejects(call);
  await until('the command runs', () => runs('sleep 4005'));
  controller.abort();
  await failed;
  await until('the command is gone', async () => !(await runs('sleep 4005')));
});

test('input for a command that has ended or does not read is no error', bound, async () => {
  const stdin = 'x'.repeat(1_000_000);
  assert.equal((await box.exec('exit 4', { stdin })).exitCode, 4);
  assert.equal((await box.exec('exec <&-; sleep 0.3; exit 5', { stdin })).exitCode, 5);
});

test('a shell is a terminal of the size asked for, and can be resized', bound, async () => {
  await using shell = await box.shell({ rows: 31, cols: 101, command: 'bash --norc', user: 'agent' });
  const output = shell.output();
  await shell.write('tty; stty size; id -un\n');
  assert.match(await readUntil(output, /\nagent\r/), /\/dev\/pts\/\d+\r\n31 101\r\n/);
  await shell.resize({ rows: 45, cols: 120 });
  await shell.write('until [ "$(stty size)" = "45 120" ]; do sleep 0.1; done; echo re""sized\n');
  await readUntil(output, 'resized');
  await shell.write('cat\n\u0003');
  await shell.write('echo still; exit 9\n');
  await readUntil(output, 'still');
  for await (const _ of output);
  assert.deepEqual(await shell.exit, { exitCode: 9, signal: null });
  await assert.rejects(shell.write('too late\n'), { code: 'server.unreachable' });
});

test('[R-exec-ends] closing a shell ends what runs in it', bound, async () => {
  const shell = await box.shell({ command: 'echo up; sleep 4006; sleep 4006' });
  await readUntil(shell.output(), 'up');
  shell.close();
  await until('its program is gone', async () => !(await runs('sleep 4006')));
});

test('a background process is listed, followed and stopped', bound, async () => {
  const started = await box.spawn('counter', 'i=0; while :; do i=$((i+1)); echo "n$i"; echo e >&2; sleep 0.05; done');
  assert.deepEqual([started.name, started.state, started.exitCode], ['counter', 'running', null]);
  assert.deepEqual(
    (await box.processes()).map(({ name, pid, state }) => ({ name, pid, state })),
    [{ name: 'counter', pid: started.pid, state: 'running' }],
  );
  const follow = (await box.logs('counter', { follow: true }))[Symbol.asyncIterator]();
  const text = await readUntil(follow, 'n12\n');
  assert.ok(text.startsWith('n1\n') || text.startsWith('e\n'), text);
  await assert.rejects(box.spawn('counter', 'true'), { code: 'guest.name_taken' });
  const stopped = await box.stopProcess('counter');
  assert.deepEqual([stopped.state, stopped.signal, stopped.exitCode], ['exited', 'SIGTERM', null]);
  for (let end = await follow.next(); end.done !== true; end = await follow.next());
  assert.deepEqual(await box.processes(), []);
  await assert.rejects(box.logs('counter'), { code: 'guest.process_not_found' });
  await assert.rejects(box.stopProcess('counter'), { code: 'guest.process_not_found' });
});

test('a process that ignores its signal is killed', bound, async () => {
  await box.spawn('stubborn', "trap '' TERM; echo deaf; while :; do sleep 1; done");
  await readUntil((await box.logs('stubborn', { follow: true }))[Symbol.asyncIterator](), 'deaf');
  assert.equal((await box.stopProcess('stubborn')).signal, 'SIGKILL');
});

test('[R-guest-bounded] the log of a process keeps its end, within its limit', bound, async () => {
  await box.spawn('chatty', 'seq 1 5000; echo last', { logLimitBytes: 4_096 });
  const [found] = await until('it has ended', async () => {
    const all = await box.processes();
    return all[0]?.state === 'exited' ? all : null;
  });
  assert.equal(found?.exitCode, 0);
  const log = await (await box.logs('chatty')).text();
  assert.ok(log.length <= 4_096, `${log.length} bytes`);
  assert.ok(log.endsWith('5000\nlast\n'));
  assert.equal((found?.logDroppedBytes ?? 0) + log.length, 23_893 + 'last\n'.length);
  assert.equal(await (await box.logs('chatty', { limitBytes: 5 })).text(), 'last\n');
  await box.stopProcess('chatty');
});

test('[R-input-bounded] a command that cannot be run says why', bound, async () => {
  await box.writeFile('/var/tmp/text', 'no program', { mode: '644' });
  await box.writeFile('/var/tmp/odd', '\u0001\u0002', { mode: '755' });
  const refusals: readonly (readonly [string, readonly (() => Promise<unknown>)[]])[] = [
    [
      'guest.not_found',
      [
        () => box.exec(['/no/such/program']),
        () => box.exec(['no-such-program']),
        () => box.spawn('missing', ['/no/such/program']),
        async () => {
          for await (const _ of await box.execStream(['/no/such/program']));
        },
      ],
    ],
    [
      'guest.not_executable',
      [() => box.exec(['/etc']), () => box.exec(['/var/tmp/text']), () => box.exec(['/var/tmp/odd'])],
    ],
    [
      'guest.cwd_not_found',
      [() => box.exec(['true'], { cwd: '/no/such/folder' }), () => box.exec(['true'], { cwd: '/etc/passwd' })],
    ],
    [
      'guest.user_not_found',
      [() => box.exec(['true'], { user: 'nobody-of-this-name' }), () => box.shell({ user: 'nobody-of-this-name' })],
    ],
  ];
  for (const [code, calls] of refusals) await assertRefused([code], calls);
  assert.deepEqual(await box.processes(), []);
});

test('[R-input-bounded] commands outside the limits are refused before they reach the guest', bound, async () => {
  await assertRefused(
    ['request.invalid', 'guest.bad_request', 'guest.invalid_path'],
    [
      () => box.exec(''),
      () => box.exec([]),
      () => box.exec(['echo', 'a\0b']),
      () => box.exec('echo a\0b'),
      () => box.exec(['x'.repeat(70_000)]),
      () => box.exec(Array.from({ length: 1_025 }, () => 'x')),
      () => box.exec('true', { timeoutMs: -1 }),
      () => box.exec('true', { timeoutMs: Number.NaN }),
      () => box.exec('true', { timeoutMs: 1e300 }),
      () => box.exec('true', { timeoutMs: 0.5 }),
      () => box.exec('true', { maxOutputBytes: -1 }),
      () => box.exec('true', { maxOutputBytes: 1e15 }),
      () => box.exec('true', { memoryMib: 0 }),
      () => box.exec('true', { memoryMib: -5 }),
      () => box.exec('true', { maxProcesses: 0 }),
      () => box.exec('true', { cpuPercent: Number.POSITIVE_INFINITY }),
      () => box.exec('true', { cwd: 'tmp' }),
      () => box.exec('true', { cwd: '/tmp/\0' }),
      () => box.exec('true', { env: { 'A=B': 'c' } }),
      () => box.exec('true', { env: { A: 'a\0b' } }),
      () => box.exec('true', { user: '' }),
      () => box.exec('true', { user: 'x'.repeat(10_000) }),
      () => box.exec('true', { stdin: 'x'.repeat(1_000_001) }),
      () => box.spawn('', 'true'),
      () => box.spawn('../x', 'true'),
      () => box.spawn('a\nb', 'true'),
      () => box.spawn('n'.repeat(10_000), 'true'),
      () => box.spawn('x', 'true', { logLimitBytes: 0 }),
      () => box.shell({ rows: 0 }),
      () => box.shell({ cols: 1e9 }),
      () => box.shell({ rows: Number.NaN }),
    ],
  );
});
