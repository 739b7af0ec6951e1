import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Agent, alive, type Built, build, start, until } from './agent-program.ts';
import { type Answer, code, credit, type Field, frame, number, open, text, type, values, Wire } from './wire.ts';

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

const spawn = (name: string, script: string, ...more: Field[]): Promise<Answer> =>
  wire.call([[1, 3], [42, name], [11, script], ...more]);
const stop = (name: string, ...more: Field[]): Promise<Answer> => wire.call([[1, 6], [42, name], ...more]);
const logs = (name: string, ...more: Field[]): Promise<Answer> => wire.call([[1, 5], [42, name], ...more]);
const ended = (name: string): Promise<void> =>
  until(async () => number((await logs(name, [48, 0])).last, 29) === 2, `${name} to end`);

interface Row {
  readonly name: string;
  readonly pid: number | null;
  readonly state: number | null;
  readonly args: string[];
}

async function list(): Promise<Row[]> {
  const { last } = await wire.call([[1, 4]]);
  return values(last.payload, 79).map((payload) => {
    const record = { ...last, payload };
    return {
      name: text(record, 42) ?? '',
      pid: number(record, 21),
      state: number(record, 29),
      args: values(payload, 10).map(String),
    };
  });
}

test('a background process is listed, its log comes in the order written, and STOP removes both', async () => {
  const pid = number(
    (await spawn('a', 'echo one; sleep 0.03; echo two >&2; sleep 0.03; echo three; exec sleep 1000')).last,
    21,
  );
  assert.equal(code((await spawn('a', 'true')).last), 'name_taken');
  await until(async () => (await logs('a')).output[1].toString() === 'one\nthree\n', 'the output');
  assert.equal((await logs('a')).output[2].toString(), 'two\n');
  assert.equal((await logs('a', [48, 6])).output[1].toString(), 'three\n');
  assert.deepEqual((await list())[0], {
    name: 'a',
    pid,
    state: 1,
    args: ['/bin/sh', '-c', 'echo one; sleep 0.03; echo two >&2; sleep 0.03; echo three; exec sleep 1000'],
  });
  assert.equal(number((await stop('a')).last, 19), 15);
  assert.equal(code((await logs('a')).last), 'process_not_found');
  assert.deepEqual(await list(), []);
});

test('a log keeps the last bytes and counts those it dropped', async () => {
  await spawn('ring', 'seq 1 50000; echo end >&2', [27, 4096]);
  await ended('ring');
  const all = Array.from({ length: 50_000 }, (_, i) => `${i + 1}\n`).join('');
  const { output, last } = await logs('ring');
  const kept = output[1].toString();
  assert.ok(kept.length > 2_000 && kept.length <= 4_096, `${kept.length} bytes kept`);
  assert.ok(all.endsWith(kept));
  assert.equal(output[2].toString(), 'end\n');
  assert.equal(number(last, 77), all.length - kept.length);
  const record = { ...last, payload: values((await wire.call([[1, 4]])).last.payload, 79)[0] ?? Buffer.alloc(0) };
  assert.equal(number(record, 77), all.length - kept.length);
  await stop('ring');
});

test('FOLLOW goes on until the process ends', async () => {
  await spawn('f', 'for i in 1 2 3 4 5; do echo $i; echo e$i >&2; sleep 0.02; done; exit 4');
  const { output, last } = await logs('f', [28, 1]);
  assert.equal(output[1].toString(), '1\n2\n3\n4\n5\n');
  assert.equal(output[2].toString(), 'e1\ne2\ne3\ne4\ne5\n');
  assert.deepEqual([number(last, 29), number(last, 20)], [2, 4]);
  await stop('f');
});

test('a reader that is too slow loses what made way, never the connection', async () => {
  await spawn('slow', 'yes', [27, 65_536]);
  const stream = wire.newStream();
  wire.send(open(stream, [1, 5], [42, 'slow'], [28, 1]));
  let received = 0;
  while (received < 262_144) {
    const f = await wire.next();
    if (f.type === type.data) received += f.payload.length;
  }
  // It is behind by more than the ring holds.
  await until(async () => (number((await logs('slow', [48, 0])).last, 77) ?? 0) > 1_000_000, 'the ring to go round');
  await stop('slow', [15, 0]);
  const { output, last } = await wire.call([[1, 1]]);
  assert.equal(output[1].length, 0);
  assert.equal(last.type, type.result);
  // With credit it gets the end of the log, of a process that is no longer listed.
  wire.send(credit(1, stream, 1 << 20));
  const end = await wire.finish(stream);
  assert.equal(number(end.last, 29), 2);
  assert.ok(end.output[1].length > 0 && end.output[1].length <= 65_536);
});

test('STOP kills the tree of a process that ignores its signal', async () => {
  const pid = number((await spawn('deaf', 'trap "" TERM; sleep 1000 & echo $!; while :; do wait; done')).last, 21) ?? 0;
  await until(async () => (await logs('deaf')).output[1].length > 0, 'the child');
  const child = Number((await logs('deaf')).output[1].toString());
  assert.equal(number((await stop('deaf', [15, 60])).last, 19), 9);
  await until(async () => !(await alive(pid)) && !(await alive(child)), 'both to die');
});

test('names, limits and the number of processes are bounded', async () => {
  for (const name of ['', '.a', 'a/b', 'a b', 'ü', 'x'.repeat(65)]) {
    assert.equal(code((await spawn(name, 'true')).last), 'bad_request', name);
  }
  assert.equal(code((await spawn('big', 'true', [27, 16_777_217])).last), 'bad_request');
  const longest = (i: number): string => `${'n'.repeat(60)}${1000 + i}`;
  const argument = 'x'.repeat(1000);
  for (let i = 0; i < 256; i++) await spawn(longest(i), `exit 0 # ${argument}`, [27, 4096]);
  assert.equal(code((await spawn('one-more', 'true')).last), 'too_many_processes');
  const rows = await list();
  assert.equal(rows.length, 256);
  assert.equal(new Set(rows.map((r) => r.name)).size, 256);
  for (let i = 0; i < 256; i++) await stop(longest(i));
});

test('FREEZE refuses with a foreground, or makes it background; THAW continues', async () => {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [11, 'for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.01; done; exec sleep 1000']));
  const pid = number(await wire.next(), 21);
  assert.equal(code((await wire.call([[1, 33]])).last), 'busy');
  const freeze = wire.newStream();
  wire.send(open(freeze, [1, 33], [64, 1], [45, 1]));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
  assert.equal((await wire.finish(freeze)).last.type, type.result);
  assert.deepEqual(
    (await list()).map((r) => [r.name, r.pid, r.state]),
    [[`exec-${pid}`, pid, 3]],
  );
  assert.equal(
    code(
      (
        await wire.call([
          [1, 2],
          [10, 'true'],
        ])
      ).last,
    ),
    'busy',
  );
  await wire.begin();
  assert.equal((await list())[0]?.state, 3);
  assert.equal((await wire.call([[1, 35]])).last.type, type.result);
  await until(async () => (await logs(`exec-${pid}`)).output[1].toString().endsWith('9\n'), 'it to go on');
  await stop(`exec-${pid}`);
});

test('what would change the system is refused without leave', async () => {
  const refused: Field[][] = [
    [
      [1, 30],
      [60, 1n],
    ],
    [
      [1, 31],
      [61, Buffer.alloc(32)],
    ],
    [
      [1, 32],
      [62, 'other'],
    ],
    [
      [1, 35],
      [60, 1n],
    ],
    [[1, 38]],
  ];
  for (const list of refused) assert.equal(code((await wire.call(list)).last), 'permission_denied');
  const { last } = await wire.call([[1, 36]]);
  assert.ok((number(last, 80) ?? 0) > (number(last, 81) ?? Number.POSITIVE_INFINITY) - 1);
  assert.equal(number(last, 86), 0);
});

test('CANCEL ends a follower', async () => {
  await spawn('c', 'sleep 1000');
  const stream = wire.newStream();
  wire.send(open(stream, [1, 5], [42, 'c'], [28, 1]), frame(type.cancel, 0, stream));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
  await stop('c', [19, 9]);
});
