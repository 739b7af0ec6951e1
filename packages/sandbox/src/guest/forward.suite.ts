import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type AgentUnderTest, eventually } from './native-agent.ts';
import type { GuestSocket } from './socket.ts';

async function serve(onConnection: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

const text = async (stream: AsyncIterable<Buffer>): Promise<string> => {
  let all = '';
  for await (const chunk of stream) all += chunk.toString();
  return all;
};

export function forwardSuite(get: () => AgentUnderTest): void {
  describe('connect', () => {
    test('bytes both ways, several megabytes, halves closed one by one', async () => {
      const { server, port } = await serve((socket) => socket.pipe(socket));
      const sent = randomBytes(5_000_000);
      const socket = await get().client.connect(port);
      const received = socket.toArray();
      socket.end(sent);
      assert.ok(Buffer.concat(await received).equals(sent));
      await eventually('the stream has ended', () => get().client.load.streams === 0);
      server.close();
    });

    test('a server that speaks only after the end of the request', async () => {
      const { server, port } = await serve(async (socket) => socket.end(`got ${await text(socket)}`));
      const socket = await get().client.connect(port, '127.0.0.1');
      socket.end('all of it');
      assert.equal(await text(socket), 'got all of it');
      server.close();
    });

    test('nothing listens, or the address is not the loopback', async () => {
      const { server, port } = await serve(() => undefined);
      server.close();
      await once(server, 'close');
      await assert.rejects(get().client.connect(port), { code: 'guest.connection_refused' });
      await assert.rejects(get().client.connect(80, '192.0.2.1'), (error: Error) => 'code' in error);
      await assert.rejects(get().client.connect(0), { code: 'guest.bad_request' });
    });

    test('destroying the socket closes the connection in the guest', async () => {
      const sockets: Socket[] = [];
      const { server, port } = await serve((socket) => {
        sockets.push(socket.on('error', () => undefined));
        socket.resume();
      });
      const socket = await get().client.connect(port);
      await eventually('it is accepted', () => sockets.length === 1);
      socket.destroy();
      const [accepted] = sockets;
      accepted?.on('end', () => accepted.end());
      await eventually('it is closed', () => accepted?.closed === true);
      await eventually('the stream has ended', () => get().client.load.streams === 0);
      server.close();
    });

    test('a reader that pauses stops the sender', async () => {
      let sent = 0;
      const { server, port } = await serve((socket) => {
        socket.on('error', () => undefined);
        const fill = (): void => {
          while (sent < 100_000_000 && socket.write(Buffer.alloc(65_536))) sent += 65_536;
        };
        socket.on('drain', fill);
        fill();
      });
      const { client } = get();
      const socket = await client.connect(port);
      await once(socket, 'readable');
      await eventually('the window is full', () => client.load.queuedBytes >= 190_000);
      assert.ok(client.load.queuedBytes <= 262_144 && sent < 50_000_000);
      socket.destroy();
      server.close();
    });
  });

  describe('listen', () => {
    test('connections in the guest reach this side', async () => {
      const { client } = get();
      const listener = await client.listen({}, (socket) => socket.pipe(socket));
      const port = listener.port ?? 0;
      assert.ok(port > 0);
      const sent = randomBytes(1_000_000);
      const clients = Array.from({ length: 10 }, async () => {
        const socket = connect(port, '127.0.0.1');
        const received = socket.toArray();
        socket.end(sent);
        assert.ok(Buffer.concat(await received).equals(sent));
      });
      await Promise.all(clients);
      await eventually('all have ended', () => client.load.guestStreams === 0);
      await assert.rejects(
        client.listen({ port }, () => undefined),
        { code: 'guest.address_in_use' },
      );
      listener.close();
      await listener.closed;
      await eventually('nothing listens', async () => {
        const socket = connect(port, '127.0.0.1');
        const refused = await once(socket, 'connect').then(
          () => false,
          () => true,
        );
        socket.destroy();
        return refused;
      });
    });

    test('a unix socket with its mode, and a refused connection', async () => {
      const { client, agent } = get();
      const path = join(agent.directory, 'listen.sock');
      const sockets: GuestSocket[] = [];
      const listener = await client.listen({ path, mode: 0o600 }, (socket) => {
        if (sockets.push(socket) > 1) throw new Error('one is enough');
      });
      assert.equal(listener.port, null);
      assert.equal((await lstat(path)).mode & 0o777, 0o600);
      const first = connect(path);
      first.write('ping');
      await eventually('it has come', () => sockets.length === 1);
      const [socket] = sockets;
      socket?.end('pong');
      assert.equal(await text(first), 'pong');
      const second = connect(path).on('error', () => undefined);
      second.resume();
      await eventually('it is refused', () => second.closed);
      listener.close();
      await eventually('the streams have ended', () => client.load.streams === 0);
    });
  });
}
