import assert from 'node:assert/strict';
import { once } from 'node:events';
import { lstat } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Agent, type Built, build, start, until } from './agent-program.ts';
import { code, credit, frame, number, open, type, Wire } from './wire.ts';

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

async function server(serve: (socket: Socket) => void): Promise<{ port: number; close: () => void }> {
  const listening = createServer({ allowHalfOpen: true }, serve);
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return { port: (listening.address() as AddressInfo).port, close: () => listening.close() };
}

test('a connection carries bytes both ways, and each end closes by itself', async () => {
  const echo = await server((socket) => {
    socket.pipe(socket);
  });
  const body = Buffer.alloc(200_000, 'to and fro ');
  const { events, output, last } = await wire.call(
    [
      [1, 20],
      [51, echo.port],
    ],
    body,
  );
  assert.equal(events.length, 1);
  assert.deepEqual(output[0], body);
  assert.equal(last.type, type.result);
  echo.close();
});

test('what can not be connected says why', async () => {
  assert.equal(
    code(
      (
        await wire.call([
          [1, 20],
          [51, 1],
        ])
      ).last,
    ),
    'connection_refused',
  );
  for (const host of ['10.0.0.1', '0.0.0.0', 'example.org', '::', '128.0.0.1']) {
    assert.equal(
      code(
        (
          await wire.call([
            [1, 20],
            [50, host],
            [51, 80],
          ])
        ).last,
      ),
      'bad_request',
      host,
    );
  }
  for (const port of [0, 65_536, -1])
    assert.equal(
      code(
        (
          await wire.call([
            [1, 20],
            [51, port],
          ])
        ).last,
      ),
      'bad_request',
    );
});

test('a peer that does not read holds the host back by credit', async () => {
  const sockets: Socket[] = [];
  const deaf = await server((socket) => {
    socket.pause();
    sockets.push(socket);
  });
  const stream = wire.newStream();
  wire.send(open(stream, [1, 20], [51, deaf.port]));
  let allowed = 262_144;
  let sent = 0;
  assert.equal((await wire.next()).type, type.event);
  // Until neither the socket's buffers nor the agent take more: three answers to PING without new credit.
  for (let idle = 0; idle < 3; ) {
    for (; allowed >= 65_536; allowed -= 65_536, sent += 65_536) {
      wire.send(frame(type.data, 0, stream, Buffer.alloc(65_536)));
    }
    const other = wire.newStream();
    wire.send(open(other, [1, 1]));
    idle += 1;
    for (;;) {
      const f = await wire.next();
      if (f.stream === other) break;
      if (f.type === type.credit) {
        allowed += f.payload.readUInt32LE();
        idle = 0;
      }
    }
  }
  assert.ok(sent < 64 << 20, `${sent} bytes were taken`);
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
  for (const socket of sockets) socket.destroy();
  deaf.close();
});

async function listen(...where: (readonly [number, number | string])[]): Promise<{ stream: number; port: number }> {
  const stream = wire.newStream();
  wire.send(open(stream, [1, 21], ...where));
  const f = await wire.next();
  assert.equal(f.type, type.event, code(f) ?? '');
  assert.equal(number(f, 52), stream);
  return { stream, port: number(f, 51) ?? 0 };
}

test('a listener hands each connection to the host on a stream of the guest', async () => {
  const { stream, port } = await listen([51, 0]);
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end('question');
  const accepted = await wire.next();
  assert.equal(accepted.type, type.open);
  assert.equal(accepted.stream % 2, 0);
  assert.deepEqual([number(accepted, 1), number(accepted, 52)], [60, stream]);
  assert.equal((await wire.next()).payload.toString(), 'question');
  assert.equal((await wire.next()).type, type.eof);
  wire.send(frame(type.data, 0, accepted.stream, Buffer.from('answer')), frame(type.eof, 0, accepted.stream));
  wire.send(frame(type.result, 0, accepted.stream));
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  assert.equal(answer, 'answer');
  assert.equal(
    code(
      (
        await wire.call([
          [1, 21],
          [51, port],
        ])
      ).last,
    ),
    'address_in_use',
  );
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
  await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'));
});

test('the host refuses a connection with ERROR', async () => {
  const { stream, port } = await listen([51, 0]);
  const socket = connect(port, '127.0.0.1');
  const accepted = await wire.next();
  wire.send(frame(type.error, 0, accepted.stream));
  socket.resume().on('error', () => undefined);
  await once(socket, 'close');
  wire.send(frame(type.cancel, 0, stream), credit(0, accepted.stream, 1));
  await wire.finish(stream);
});

test('a unix listener has its mode, replaces a stale socket, and goes with its session', async () => {
  const path = join(built.folder, 'listen.sock');
  await listen([30, path], [32, 0o666]);
  assert.equal((await lstat(path)).mode & 0o777, 0o666);
  assert.equal(
    code(
      (
        await wire.call([
          [1, 21],
          [30, path],
        ])
      ).last,
    ),
    'address_in_use',
  );
  await wire.begin();
  await until(
    () =>
      lstat(path).then(
        () => false,
        () => true,
      ),
    'the socket to go',
  );
  await listen([30, path]);
  assert.equal((await lstat(path)).mode & 0o777, 0o600);
  await wire.begin();
});
