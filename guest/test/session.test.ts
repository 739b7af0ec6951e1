import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Agent, alive, type Built, build, start, until } from './agent-program.ts';
import { code, fields, frame, hello, number, open, text, type, Wire } from './wire.ts';

let built: Built;
let agent: Agent;
before(async () => {
  built = await build();
  agent = await start(built);
});
after(async () => {
  assert.equal(await agent.stop(), 0, agent.complaints());
  await built.remove();
});

const ping = [[1, 1]] as const;
const pong = async (wire: Wire): Promise<void> => assert.equal((await wire.call(ping)).last.type, type.result);

/** The session is over: the fault is named on stream 0, and nothing but a HELLO behind zeros is heard. */
async function expectViolation(wire: Wire, fault: string): Promise<void> {
  for (;;) {
    const f = await wire.next();
    if (f.stream !== 0) continue;
    assert.equal(code(f), 'bad_request');
    assert.equal(text(f, 8), `protocol error: ${fault}`);
    break;
  }
  wire.send(open(901, ...ping), Buffer.alloc(12));
  assert.equal((await wire.begin()).type, type.hello);
  await pong(wire);
}

test('HELLO is answered with the nonce, the version, the agent and its features', async () => {
  const wire = await Wire.connect(agent.socket, false);
  const nonce = Buffer.from('0123456789abcdef');
  wire.send(hello(nonce));
  const answer = await wire.next();
  assert.equal(answer.stream, 0);
  assert.deepEqual(answer.payload.subarray(0, 36), fields([2, 1], [3, nonce]));
  assert.match(text(answer, 4) ?? '', /^holdfast-agent\//);
  assert.match(text(answer, 5) ?? '', /^[0-9a-f-]{36}$/);
  wire.close();
});

test('another version is refused on stream 0, and the right one is still welcome', async () => {
  const wire = await Wire.connect(agent.socket, false);
  wire.send(frame(type.hello, 0, 0, fields([2, 2], [3, Buffer.alloc(16)])));
  assert.equal(code(await wire.next()), 'version_mismatch');
  await wire.begin();
  wire.close();
});

test('frames arrive whole from single bytes, with zero bytes between them', async () => {
  const wire = await Wire.connect(agent.socket);
  const bytes = Buffer.concat([
    Buffer.alloc(5),
    open(1, ...ping),
    Buffer.alloc(1),
    open(3, [1, 12], [30, '/']),
    Buffer.alloc(70_000),
    open(5, ...ping),
  ]);
  for (const byte of bytes.subarray(0, 90)) await wire.sendAll(Buffer.of(byte));
  wire.send(bytes.subarray(90));
  for (const stream of [1, 3, 5]) {
    const f = await wire.next();
    assert.deepEqual([f.type, f.stream], [type.result, stream]);
  }
  wire.close();
});

test('65,548 zero bytes complete any half frame, and HELLO begins anew', async () => {
  const wire = await Wire.connect(agent.socket);
  const halves = [
    open(1, ...ping).subarray(0, 7),
    frame(type.data, 0, 1, Buffer.alloc(65_536, 9)).subarray(0, 13),
    open(1, [1, 2], [10, 'echo'], [10, 'never']).subarray(0, 40),
    Buffer.of(0xa5),
  ];
  for (const half of halves) {
    wire.send(half, Buffer.alloc(65_548));
    await wire.begin();
    await pong(wire);
  }
  wire.close();
});

test('a violation ends the session by its name, not the agent', async (t) => {
  const cases: [string, Uint8Array, string][] = [
    ['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'bad_marker'],
    ['flags', Buffer.of(0xa5, 4, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0), 'bad_flags'],
    ['a length over the limit', Buffer.of(0xa5, 3, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0), 'bad_length'],
    ['a stream that was never opened', frame(type.eof, 0, 77), 'unknown_stream'],
    ['a guest stream that was never opened', frame(type.eof, 0, 2), 'unknown_stream'],
    ['an even id', open(2, ...ping), 'bad_stream_id'],
    ['an id used twice', Buffer.concat([open(5, ...ping), open(5, ...ping)]), 'bad_stream_id'],
    ['an id that falls', Buffer.concat([open(5, ...ping), open(3, ...ping)]), 'bad_stream_id'],
    ['a TLV that reaches too far', frame(type.open, 0, 1, Buffer.from('010008000000ff', 'hex')), 'bad_tlv'],
    ['text with NUL', open(1, [1, 12], [30, '/\0']), 'bad_text'],
    ['OPEN without OP', frame(type.open, 0, 1), 'op_missing'],
    ['RESULT of the host for its own stream', frame(type.result, 0, 1), 'bad_direction'],
    [
      'DATA on stdout',
      Buffer.concat([open(1, [1, 11], [30, '/tmp/x-never']), frame(type.data, 1, 1, Buffer.of(1))]),
      'bad_channel',
    ],
    [
      'DATA after EOF',
      Buffer.concat([
        open(1, [1, 2], [11, 'sleep 100'], [26, 1]),
        frame(type.eof, 0, 1),
        frame(type.data, 0, 1, Buffer.of(1)),
      ]),
      'data_after_eof',
    ],
    [
      'CREDIT beyond the limit of the balance',
      Buffer.concat([
        open(1, [1, 2], [11, 'sleep 100']),
        frame(type.credit, 1, 1, Buffer.of(0, 0, 0, 1)), // 16,777,216 on top of what the stream began with
      ]),
      'bad_credit',
    ],
  ];
  for (const [name, bytes, fault] of cases) {
    await t.test(name, async () => {
      const wire = await Wire.connect(agent.socket);
      wire.send(bytes);
      await expectViolation(wire, fault);
      wire.close();
    });
  }
});

test('DATA beyond the credit ends the session', async () => {
  const wire = await Wire.connect(agent.socket);
  wire.send(open(1, [1, 2], [11, 'sleep 100'], [26, 1]));
  // The pipe takes 64 KiB and returns credit for them; nothing can lift that to 512 KiB.
  for (let i = 0; i < 8; i++) wire.send(frame(type.data, 0, 1, Buffer.alloc(65_536)));
  await expectViolation(wire, 'credit_exceeded');
  wire.close();
});

test('after a violation HELLO counts only behind twelve zero bytes', async () => {
  const wire = await Wire.connect(agent.socket);
  wire.send(Buffer.from('x'));
  assert.equal(code(await wire.next()), 'bad_request');
  const ignored = Buffer.alloc(16, 1);
  const heard = Buffer.alloc(16, 2);
  wire.send(hello(ignored), Buffer.alloc(11), hello(ignored), Buffer.from('a'), Buffer.alloc(12), hello(heard));
  const answer = await wire.next();
  assert.deepEqual(answer.payload.subarray(14 + 6, 36), heard);
  wire.close();
});

test('frames for a stream that has ended are ignored', async () => {
  const wire = await Wire.connect(agent.socket);
  assert.equal((await wire.call(ping)).last.type, type.result);
  wire.send(frame(type.data, 0, 1, Buffer.from('late')), frame(type.eof, 0, 1), frame(type.cancel, 0, 1));
  wire.send(frame(type.ctl, 0, 1, fields([1, 50], [19, 9])));
  await pong(wire);
  wire.close();
});

test('an operation that does not exist, or not yet, is an error of its stream only', async () => {
  const wire = await Wire.connect(agent.socket);
  assert.equal(code((await wire.call([[1, 4_000_000_000]])).last), 'unknown_op');
  assert.equal(code((await wire.call([[1, 7]])).last), 'unknown_op');
  await pong(wire);
  wire.close();
});

test('at most 1,024 streams are open at once', async () => {
  const wire = await Wire.connect(agent.socket);
  await wire.call([
    [1, 3],
    [42, 'many'],
    [11, 'sleep 1000'],
  ]);
  for (let i = 0; i < 1024; i++) wire.send(open(wire.newStream(), [1, 5], [42, 'many'], [28, 1]));
  assert.equal(code((await wire.call(ping)).last), 'too_many_streams');
  await wire.begin();
  await wire.call([
    [1, 6],
    [42, 'many'],
    [15, 0],
  ]);
  wire.close();
});

test('HELLO kills the process groups of the foreground, and spares the background', async () => {
  const wire = await Wire.connect(agent.socket);
  await wire.call([
    [1, 3],
    [42, 'spared'],
    [11, 'sleep 1000'],
  ]);
  const stream = wire.newStream();
  wire.send(open(stream, [1, 2], [11, 'sleep 1000 & echo $!; wait']));
  let pid: number | null = null;
  let child = 0;
  while (child === 0) {
    const f = await wire.next();
    if (f.type === type.event) pid = number(f, 21);
    if (f.type === type.data) child = Number(f.payload.toString());
  }
  assert.ok(pid !== null && (await alive(pid)) && (await alive(child)));
  wire.send(hello());
  await until(async () => !(await alive(pid)) && !(await alive(child)), 'the process group to die');
  await wire.begin();
  const { last } = await wire.call([
    [1, 5],
    [42, 'spared'],
  ]);
  assert.equal(number(last, 29), 1);
  await wire.call([
    [1, 6],
    [42, 'spared'],
    [15, 0],
  ]);
  wire.close();
});

test('a connection that goes away does as much', async () => {
  const wire = await Wire.connect(agent.socket);
  wire.send(open(1, [1, 2], [11, 'sleep 1000']));
  const pid = number(await wire.next(), 21) ?? 0;
  wire.close();
  await until(async () => !(await alive(pid)), 'the process to die');
  const next = await Wire.connect(agent.socket);
  await pong(next);
  next.close();
});
