import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Agent, alive, type Built, build, residentKib, start, until } from './agent-program.ts';
import { type Answer, code, credit, type Field, fields, frame, number, open, text, type, Wire } from './wire.ts';

let built: Built;
let agent: Agent;
let wire: Wire;
before(async () => {
  built = await build();
  agent = await start(built);
  wire = await Wire.connect(agent.socket);
});
after(async () => {
  wire.close();
  assert.equal(await agent.stop(), 0, agent.complaints());
  await built.remove();
});

const exec = (...more: readonly Field[]): Promise<Answer> => wire.call([[1, 2], ...more]);
const sh = (script: string, ...more: readonly Field[]): Promise<Answer> => exec([11, script], ...more);
const out = (a: Answer): string => a.output[1].toString();

test('arguments arrive as they are, output by its channel, the exit code at the end', async () => {
  const a = await exec(
    [10, 'sh'],
    [10, '-c'],
    [10, 'printf "%s|" "$@"; echo oops >&2; exit 7'],
    [10, 'x'],
    [10, ''],
    [10, 'a b'],
    [10, 'ü'],
  );
  assert.equal(out(a), '|a b|ü|');
  assert.equal(a.output[2].toString(), 'oops\n');
  assert.equal(number(a.last, 20), 7);
  assert.equal(number(a.last, 19), null);
  assert.ok((number(a.last, 70) ?? 0) > 0);
  assert.equal(a.events.length, 1);
});

test('the environment is clean, and what is given replaces its defaults', async () => {
  const names = out(await exec([10, '/usr/bin/env'], [12, 'A=1=2'], [12, 'LANG=C']))
    .trimEnd()
    .split('\n');
  assert.deepEqual(names.map((line) => line.split('=')[0]).sort(), ['A', 'HOME', 'LANG', 'PATH', 'USER']);
  assert.ok(names.includes('A=1=2') && names.includes('LANG=C'));
});

test('a process gets its three descriptors and no other', async () => {
  const list = out(await exec([10, '/bin/ls'], [10, '/proc/self/fd']))
    .trim()
    .split('\n');
  assert.deepEqual(list, ['0', '1', '2', '3']); // 3 is the listing itself
});

test('what can not be executed says why', async () => {
  const folder = await mkdtemp(join(built.folder, 'exec-'));
  const plain = join(folder, 'plain');
  await writeFile(plain, 'no program', { mode: 0o644 });
  await writeFile(join(folder, 'script'), '#!/nonexistent\n', { mode: 0o755 });
  await writeFile(join(folder, 'unknown'), 'no program', { mode: 0o755 });
  const expected: [Field[], string][] = [
    [[[10, '/nonexistent/program']], 'not_found'],
    [[[10, 'no-such-program-anywhere']], 'not_found'],
    [[[10, join(folder, 'script')]], 'not_found'],
    [[[10, '/etc']], 'not_executable'],
    [[[10, plain]], 'not_executable'],
    [[[10, join(folder, 'unknown')]], 'not_executable'],
    [
      [
        [10, 'true'],
        [13, '/nonexistent'],
      ],
      'cwd_not_found',
    ],
    [
      [
        [10, 'true'],
        [13, plain],
      ],
      'cwd_not_found',
    ],
    [
      [
        [10, 'true'],
        [13, '/tmp/../etc'],
      ],
      'invalid_path',
    ],
    [
      [
        [10, 'true'],
        [14, 'no-such-user'],
      ],
      'user_not_found',
    ],
    [
      [
        [10, 'true'],
        [14, '12x'],
      ],
      'user_not_found',
    ],
    [
      [
        [10, 'true'],
        [12, 'NOVALUE'],
      ],
      'bad_request',
    ],
    [
      [
        [10, 'true'],
        [22, 0],
      ],
      'bad_request',
    ],
    [
      [
        [10, 'true'],
        [11, 'true'],
      ],
      'bad_request',
    ],
    [[], 'bad_request'],
    [[[10, '']], 'bad_request'],
    [Array.from({ length: 1025 }, (): Field => [10, 'a']), 'too_large'],
  ];
  for (const [list, wanted] of expected) {
    assert.equal(code((await exec(...list)).last), wanted, JSON.stringify(list.slice(0, 3)));
  }
  assert.match(text((await exec([10, '/etc'])).last, 8) ?? '', /\/etc/);
});

test('a command runs as another user', { skip: process.getuid?.() !== 0 }, async () => {
  assert.equal(out(await sh('id -u; id -g; echo $USER', [14, 'nobody'])), '65534\n65534\nnobody\n');
  assert.equal(out(await sh('id -u; id -g', [14, '1234:77'])), '1234\n77\n');
  assert.match(
    out(await sh('grep -i "^Cap[EP][fr][fm]" /proc/self/status', [14, 'nobody'])),
    /^CapPrm:\s0+\nCapEff:\s0+\n$/,
  );
});

test('standard input flows to the end, back and forth', async () => {
  const input = Buffer.alloc(2_000_000, 'holdfast ');
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [10, 'cat'], [26, 1]));
  let allowed = 262_144;
  let sent = 0;
  let received = 0;
  const push = (): void => {
    while (sent < input.length && allowed > 0) {
      const part = input.subarray(sent, sent + Math.min(allowed, 65_536));
      wire.send(frame(type.data, 0, stream, part));
      sent += part.length;
      allowed -= part.length;
      if (sent === input.length) wire.send(frame(type.eof, 0, stream));
    }
  };
  push();
  for (;;) {
    const f = await wire.next();
    if (f.type === type.credit) allowed += f.payload.readUInt32LE();
    if (f.type === type.data) {
      assert.deepEqual(f.payload, input.subarray(received, received + f.payload.length));
      received += f.payload.length;
      wire.send(credit(1, stream, f.payload.length));
    }
    push();
    if (f.type === type.result) break;
  }
  assert.equal(received, input.length);
});

test('input that a process does not read is no error', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [11, 'exec <&-; echo closed; read x; sleep 0.05'], [26, 1]));
  for (let i = 0; i < 3; i++) wire.send(frame(type.data, 0, stream, Buffer.alloc(65_536)));
  const a = await wire.finish(stream);
  assert.equal(a.output[1].toString(), 'closed\n');
});

test('1 GiB of output: nothing beyond the credit, and no memory for it', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [11, 'head -c 1073741824 /dev/zero']));
  let received = 0;
  while (received < 262_144) {
    const f = await wire.next();
    if (f.type === type.data) received += f.payload.length;
  }
  // Other streams are served meanwhile, and not a byte more has come.
  for (let i = 0; i < 20; i++) {
    const other = wire.newStream();
    wire.send(open(other, [1, 1]));
    assert.equal((await wire.next()).stream, other);
  }
  assert.equal(received, 262_144);
  const step = 1 << 20;
  let granted = received;
  let most = 0;
  for (;;) {
    if (granted - received < step && granted < 2 ** 30) {
      wire.send(credit(1, stream, step));
      granted += step;
    }
    const f = await wire.next();
    if (f.type === type.data) received += f.payload.length;
    if (received % (64 << 20) < 65_536) most = Math.max(most, await residentKib(agent.pid));
    if (f.type === type.result) break;
  }
  assert.equal(received, 2 ** 30);
  assert.ok(most > 0 && most < 8_192, `${most} KiB resident`);
});

test('a host that does not read the connection at all costs the agent no memory', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [10, 'yes']), credit(1, stream, 16_000_000));
  const event = await wire.next();
  assert.equal(event.type, type.event);
  wire.pause();
  const pid = number(event, 21) ?? 0;
  // It blocks once pipe, buffers and socket are full.
  await until(() => blocked(pid), 'the process to block');
  assert.ok((await residentKib(agent.pid)) < 8_192);
  wire.resume();
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(number((await wire.finish(stream)).last, 19), 9);
});

/** It sleeps and used no processor time between two looks. */
async function blocked(pid: number): Promise<boolean> {
  const look = async (): Promise<string[]> =>
    (await readFile(`/proc/${pid}/stat`, 'utf8')).replace(/^.*\) /, '').split(' ');
  const first = await look();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const second = await look();
  return first[0] === 'S' && second[0] === 'S' && first[11] === second[11] && first[12] === second[12];
}

test('a signal reaches the whole process group', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [11, 'sleep 1000 & sh -c "sleep 1000 & echo \\$!; wait" & echo $!; wait']));
  const pids: number[] = [];
  while (pids.length < 3) {
    const f = await wire.next();
    if (f.type === type.event) pids.push(number(f, 21) ?? 0);
    if (f.type === type.data) pids.push(...f.payload.toString().trim().split('\n').map(Number));
  }
  wire.send(frame(type.ctl, 0, stream, fields([1, 50], [19, 15])));
  assert.equal(number((await wire.finish(stream)).last, 19), 15);
  for (const pid of pids) await until(async () => !(await alive(pid)), `process ${pid} to die`);
});

test('a timeout kills the tree and is told', async () => {
  const a = await sh('trap "" TERM; sleep 1000 & echo $!; wait', [15, 50]);
  assert.equal(number(a.last, 19), 9);
  assert.equal(number(a.last, 75), 1);
  await until(async () => !(await alive(Number(out(a)))), 'the child to die');
});

test('CANCEL ends a process even when its output waits for credit', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [10, 'yes']));
  let received = 0;
  while (received < 262_144) {
    const f = await wire.next();
    if (f.type === type.data) received += f.payload.length;
  }
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(number((await wire.finish(stream)).last, 19), 9);
});

test('an exec ends with its first process; who holds the pipe in its group is killed', async () => {
  const a = await sh('sleep 1000 & echo $!; exit 3');
  assert.equal(number(a.last, 20), 3);
  await until(async () => !(await alive(Number(out(a)))), 'the child to die');
});

test('who left the group lives on, without holding up the end, and what was written comes', async () => {
  const a = await sh('setsid sh -c "echo \\$\\$; exec sleep 1000" & sleep 0.05; head -c 200000 /dev/zero; exit 0');
  const text = out(a);
  // The two write at the same time: the number may come anywhere among the zeros.
  const pid = Number(/\d+/.exec(text)?.[0]);
  assert.equal(text.length, `${pid}\n`.length + 200_000);
  assert.ok(await alive(pid));
  process.kill(pid, 'SIGKILL');
});

test('a terminal has its size, takes a new one, and passes on Ctrl-C', async () => {
  const stream = wire.newStream();
  wire.send(
    open(
      stream,
      [1, 2],
      [11, 'stty -echo; stty size; read line; stty size; cat; echo never'],
      [16, 1],
      [17, 30],
      [18, 100],
    ),
  );
  let seen = '';
  const see = async (part: string): Promise<void> => {
    while (!seen.includes(part)) {
      const f = await wire.next();
      if (f.type === type.data) seen += f.payload.toString();
    }
  };
  await see('30 100\r\n');
  wire.send(frame(type.ctl, 0, stream, fields([1, 51], [17, 50], [18, 132])));
  wire.send(frame(type.data, 0, stream, Buffer.from('\n')));
  await see('50 132\r\n');
  // What the shell does with an interrupt while it starts a program is its own affair: the program must run.
  wire.send(frame(type.data, 0, stream, Buffer.from('there\n')));
  await see('there\r\n');
  wire.send(frame(type.data, 0, stream, Buffer.from('\x03')));
  const { last } = await wire.finish(stream);
  assert.equal(number(last, 19), 2);
  assert.ok(!seen.includes('never'));
});

test('no descriptor is lost over many execs', async () => {
  const count = async (): Promise<number> => (await readdir(`/proc/${agent.pid}/fd`)).length;
  await sh('true');
  const before = await count();
  for (let i = 0; i < 50; i++) {
    await sh('echo x', [26, i % 2], [16, i % 3 === 0 ? 1 : 0]);
    await exec([10, '/nonexistent'], [26, 1]);
  }
  assert.equal(await count(), before);
});
