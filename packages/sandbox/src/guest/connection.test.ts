import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { GuestClient } from './client.ts';
import { decodeCredit, encodeCredit, encodeFrame } from './frame.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import type { GuestSocket } from './socket.ts';
import { FrameType, Op, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

const options = { takeover: false, timeoutMs: 5_000, random: () => randomBytes(16) };
const fields = () => new FieldsBuilder();
const data = (stream: number, bytes: number, channel = 1) =>
  encodeFrame(FrameType.data, channel, stream, Buffer.alloc(bytes, 0x61));
const pid = (stream: number) => fields().number(Tag.pid, 7).frame(FrameType.event, stream);
const accepted = (stream: number, listener: number) =>
  fields().number(Tag.op, Op.accepted).number(Tag.listener, listener).frame(FrameType.open, stream);

async function connected(): Promise<{ peer: ScriptedPeer; client: GuestClient }> {
  const peer = new ScriptedPeer();
  return { peer, client: await GuestClient.connect(peer.host, options) };
}

/** Lets all that is on its way arrive; in memory nothing takes more than a few turns of the event loop. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i += 1) await turn();
}

/** What a guest may never send while an exec (stream 1) has started and a ping (stream 3) waits. */
const violations: Readonly<Record<string, readonly Buffer[]>> = {
  'bytes that are no frame': [Buffer.from('no frame')],
  'HELLO again': [fields().frame(FrameType.hello, 0)],
  'a stream that was never opened': [encodeFrame(FrameType.eof, 1, 99)],
  'a guest stream that was never opened': [data(2, 1, 0)],
  'OPEN with a host id': [accepted(9, 1)],
  'OPEN with an id used before': [accepted(4, 1), accepted(4, 1)],
  'OPEN with a falling id': [accepted(4, 1), accepted(2, 1)],
  'OPEN without OP': [fields().number(Tag.listener, 1).frame(FrameType.open, 2)],
  'CTL of a responder': [fields().number(Tag.op, 50).frame(FrameType.ctl, 1)],
  'CANCEL of a responder': [encodeFrame(FrameType.cancel, 0, 1)],
  'DATA on a channel that exec does not have': [data(1, 1, 0)],
  'DATA after EOF': [encodeFrame(FrameType.eof, 1, 1), data(1, 1)],
  'EOF twice': [encodeFrame(FrameType.eof, 2, 1), encodeFrame(FrameType.eof, 2, 1)],
  'DATA beyond the credit': [data(1, 65_536), data(1, 65_536), data(1, 65_536), data(1, 65_536), data(1, 1)],
  'credit beyond its limit': [encodeCredit(0, 1, 16_777_216)],
  'credit for output': [encodeCredit(1, 1, 1)],
  'a second start': [pid(1)],
  'no exit status': [fields().frame(FrameType.result, 1)],
  'two exit statuses': [fields().number(Tag.exitCode, 0).number(Tag.signal, 9).frame(FrameType.result, 1)],
  'an impossible exit code': [fields().number(Tag.exitCode, 256).frame(FrameType.result, 1)],
  'a number beyond the safe ones': [
    fields()
      .number(Tag.exitCode, 0)
      .number(Tag.memoryPeak, 2n ** 60n)
      .frame(FrameType.result, 1),
  ],
  'ERROR without a code': [fields().text(Tag.message, 'x').frame(FrameType.error, 1)],
  'ERROR with an unknown code': [fields().text(Tag.code, 'constructor').frame(FrameType.error, 1)],
  'a cut TLV': [encodeFrame(FrameType.result, 0, 1, Buffer.from([1, 0, 9, 0, 0, 0, 1]))],
  'the guest giving up': [fields().text(Tag.code, 'bad_request').frame(FrameType.error, 0)],
};

for (const [name, frames] of Object.entries(violations)) {
  test(`closes the connection: ${name}`, async () => {
    const { peer, client } = await connected();
    const exec = client.exec({ argv: ['x'], stdin: true });
    const ping = client.ping();
    ping.catch(() => undefined);
    peer.send(pid(1));
    await exec.started;
    peer.send(...frames);
    await assert.rejects(exec.result, { code: 'guest.protocol_error' });
    await assert.rejects(ping, { code: 'guest.protocol_error' });
    await assert.rejects(exec.write(Buffer.from('x')), { code: 'guest.protocol_error' });
    assert.equal((await client.closed).reason, 'protocol_error');
    assert.equal(peer.host.destroyed, true);
    assert.deepEqual(client.load, { streams: 0, guestStreams: 0, listeners: 0, queuedBytes: 0 });
  });
}

test('frames of ended streams are ignored', async () => {
  const { peer, client } = await connected();
  const exec = client.exec({ argv: ['x'] });
  peer.send(pid(1), fields().number(Tag.exitCode, 3).frame(FrameType.result, 1), data(1, 9), pid(1));
  peer.send(encodeCredit(0, 1, 5), fields().frame(FrameType.result, 1));
  assert.equal((await exec.result).exitCode, 3);
  const ping = client.ping();
  peer.send(fields().number(Tag.timeNs, 5).frame(FrameType.result, 3));
  assert.equal(await ping, 5n);
  client.close();
});

test('credit goes back only as the consumer reads, and what waits is bounded', async () => {
  const { peer, client } = await connected();
  const exec = client.exec({ argv: ['x'] });
  peer.send(pid(1), ...Array.from({ length: 4 }, () => data(1, 65_536)));
  await exec.started;
  await settle();
  assert.equal(client.load.queuedBytes, 262_144);
  assert.deepEqual(peer.of(FrameType.credit), []);
  let read = 0;
  for await (const chunk of exec.stdout) {
    read += chunk.byteLength;
    if (read === 131_072) break;
  }
  await settle();
  const returned = peer.of(FrameType.credit).map((frame) => decodeCredit(frame.payload));
  assert.equal(
    returned.reduce((sum, bytes) => sum + bytes, 0),
    131_072,
  );
  assert.equal(client.load.queuedBytes, 0);
  assert.equal(peer.of(FrameType.cancel).length, 1);
  client.close();
});

test('a flood of single bytes costs no more than its bytes', async () => {
  const { peer, client } = await connected();
  const logs = client.logs('a');
  const pair = Buffer.concat([data(1, 1, 1), data(1, 1, 2)]);
  const before = process.memoryUsage();
  const chunk = Buffer.concat(Array(4_096).fill(pair));
  for (let i = 0; i < 64; i += 1) peer.send(chunk);
  await settle();
  assert.equal(client.load.queuedBytes, 524_288);
  const after = process.memoryUsage();
  assert.ok(after.arrayBuffers - before.arrayBuffers < 8 * 1024 * 1024 + chunk.length * 64);
  peer.send(encodeFrame(FrameType.eof, 1, 1), encodeFrame(FrameType.eof, 2, 1));
  peer.send(fields().number(Tag.state, 1).frame(FrameType.result, 1));
  let order = '';
  for await (const { stream, data: bytes } of logs.output) order += `${stream}`.repeat(bytes.byteLength);
  assert.equal(order, '12'.repeat(262_144));
  assert.deepEqual(await logs.done, { state: 'running', exitCode: null, signal: null });
  client.close();
});

test('writes wait for credit, in order, and EOF comes after them', async () => {
  const { peer, client } = await connected();
  const exec = client.exec({ argv: ['x'], stdin: true });
  const done: string[] = [];
  const writes = [
    exec.write(Buffer.alloc(262_144, 1)).then(() => done.push('first')),
    exec.write(Buffer.alloc(10, 2)).then(() => done.push('second')),
  ];
  exec.end();
  await settle();
  const sent = () => peer.of(FrameType.data).reduce((sum, frame) => sum + frame.payload.length, 0);
  assert.equal(sent(), 262_144);
  assert.deepEqual(done, ['first']);
  peer.send(encodeCredit(0, 1, 4));
  await settle();
  assert.equal(sent(), 262_148);
  assert.equal(peer.of(FrameType.eof).length, 0);
  peer.send(encodeCredit(0, 1, 100));
  await Promise.all(writes);
  await settle();
  assert.equal(sent(), 262_154);
  assert.equal(peer.frames.at(-1)?.type, FrameType.eof);
  await assert.rejects(exec.write(Buffer.from('x')), { code: 'guest.stdin_closed' });
  client.close();
});

test('connections that nobody listens for are refused, the others are served', async () => {
  const { peer, client } = await connected();
  peer.send(accepted(2, 77), fields().number(Tag.op, 61).frame(FrameType.open, 4));
  const sockets: GuestSocket[] = [];
  const listening = client.listen({ port: 80 }, (socket) => sockets.push(socket));
  await settle();
  const codes = peer.of(FrameType.error).map((frame) => new Fields(frame.payload).text(Tag.code, 99));
  assert.deepEqual(codes, ['connection_refused', 'unknown_op']);
  peer.send(fields().number(Tag.listener, 5).number(Tag.port, 80).frame(FrameType.event, 1));
  const listener = await listening;
  assert.equal(listener.port, 80);
  for (let id = 6; id < 6 + 2 * 300; id += 2) peer.send(accepted(id, 5));
  await settle();
  assert.equal(sockets.length, 256);
  assert.equal(peer.of(FrameType.error).length, 2 + 44);
  const [first, second] = sockets;
  first?.end('bye');
  peer.send(data(6, 2, 0), encodeFrame(FrameType.eof, 0, 6), encodeFrame(FrameType.cancel, 0, 8));
  assert.equal((await first?.toArray())?.toString(), 'aa');
  await settle();
  assert.deepEqual(
    peer.of(FrameType.result).map((frame) => frame.stream),
    [6],
  );
  assert.equal(client.load.guestStreams, 254);
  second?.resume();
  await settle();
  assert.equal(second?.destroyed, true);
  listener.close();
  await listener.closed;
  for (const socket of sockets) socket.destroy();
  assert.equal(client.load.guestStreams, 0);
  client.close();
});

test('a listener whose callback throws loses that connection only', async () => {
  const { peer, client } = await connected();
  const listening = client.listen({ path: '/run/s' }, () => {
    throw new Error('refused');
  });
  peer.send(fields().number(Tag.listener, 5).frame(FrameType.event, 1));
  assert.equal((await listening).port, null);
  peer.send(accepted(2, 5));
  await settle();
  assert.deepEqual(
    peer.of(FrameType.error).map((frame) => frame.stream),
    [2],
  );
  assert.equal(client.load.guestStreams, 0);
  client.close();
});

test('a flood of watch events ends the watch with an error, not the connection', async () => {
  const { peer, client } = await connected();
  const watch = client.watch('/a');
  const event = fields().number(Tag.watchEvent, 1).text(Tag.path, '/a/b').frame(FrameType.event, 1);
  for (let i = 0; i < 100; i += 1) peer.send(Buffer.concat(Array(100).fill(event)));
  await settle();
  assert.equal(peer.of(FrameType.cancel).length, 1);
  await assert.rejects(watch.events[Symbol.asyncIterator]().next(), { code: 'guest.watch_overflow' });
  const ping = client.ping();
  peer.send(fields().number(Tag.timeNs, 5).frame(FrameType.result, 3));
  assert.equal(await ping, 5n);
  client.close();
});

test('a guest that does not read is given up before what waits for it grows', async () => {
  const peer = new ScriptedPeer({ deaf: true });
  const client = await GuestClient.connect(peer.host, options);
  const exec = client.exec({ argv: ['x'] });
  let id = 2;
  for (; id < 4_000_000 && !peer.host.destroyed; id += 2_000) {
    peer.send(...Array.from({ length: 1_000 }, (_, i) => accepted(id + 2 * i, 1)));
    await turn();
  }
  await assert.rejects(exec.result, { code: 'guest.protocol_error' });
  assert.ok(peer.host.writableLength < 10 * 1024 * 1024);
});

test('this side waits too when the guest does not read', async () => {
  const peer = new ScriptedPeer({ deaf: true });
  const client = await GuestClient.connect(peer.host, options);
  const execs = Array.from({ length: 128 }, () => client.exec({ shell: 'x'.repeat(65_000) }));
  await turn();
  assert.throws(() => Array.from({ length: 3 }, () => client.exec({ shell: 'x'.repeat(65_000) })), {
    code: 'guest.busy',
  });
  client.close();
  for (const { result } of execs) await assert.rejects(result, { code: 'guest.disconnected' });
});

test('a guest error keeps its code and errno, and its text loses control characters', async () => {
  const { peer, client } = await connected();
  const stat = client.stat('/x');
  const error = fields().text(Tag.code, 'io_error').text(Tag.message, 'bad\u001b[2J\n\u202edisk').number(Tag.errno, 5);
  peer.send(error.frame(FrameType.error, 1));
  await assert.rejects(stat, { code: 'guest.io_error', message: 'bad?[2J??disk', details: { errno: 5 } });
  client.close();
});

test('arguments that cannot be right are refused without asking the guest', async () => {
  const { peer, client } = await connected();
  for (const path of ['', 'a', '/a/../b', '/.', '/a\0', `/${'x'.repeat(4_096)}`, '/a/..']) {
    await assert.rejects(client.stat(path), { code: 'guest.invalid_path' }, path.slice(0, 20));
  }
  assert.throws(() => client.exec({}), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ argv: [] }), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ argv: ['a'], shell: 'b' }), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ argv: Array(1_025).fill('a') }), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ argv: ['a'], env: { 'A=B': 'c' } }), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ argv: ['a'], timeoutMs: Number.NaN }), { code: 'guest.bad_request' });
  assert.throws(() => client.exec({ shell: 'x'.repeat(70_000) }), { code: 'guest.too_large' });
  for (const name of ['', '.a', 'a/b', 'x'.repeat(65), 'a\n']) {
    await assert.rejects(client.spawn({ name, argv: ['a'] }), { code: 'guest.bad_request' });
  }
  await assert.rejects(client.read('/a', { offset: -1 }), { code: 'guest.bad_request' });
  assert.deepEqual(peer.frames, []);
  assert.equal(client.load.streams, 0);
  client.close();
});

test('at most 1,024 streams are open', async () => {
  const { client } = await connected();
  const pings = Array.from({ length: 1_024 }, () => client.ping());
  await assert.rejects(client.ping(), { code: 'guest.too_many_streams' });
  client.close();
  for (const ping of await Promise.allSettled(pings)) assert.equal(ping.status, 'rejected');
});

test('an upload stops reading its source when the guest refuses, and cancels when the source fails', async () => {
  const { peer, client } = await connected();
  let closed = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        await turn();
        yield Buffer.alloc(10_000);
      }
    } finally {
      closed = true;
    }
  }
  const refused = client.write('/a', endless());
  await settle();
  peer.send(fields().text(Tag.code, 'no_space').number(Tag.errno, 28).frame(FrameType.error, 1));
  await assert.rejects(refused, { code: 'guest.no_space' });
  await settle();
  assert.equal(closed, true);
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(10);
    throw new Error('source failed');
  }
  await assert.rejects(client.write('/a', failing()), /source failed/);
  await settle();
  assert.deepEqual(
    peer.of(FrameType.cancel).map((frame) => frame.stream),
    [3],
  );
  client.close();
});
