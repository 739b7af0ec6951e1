import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import { HoldfastError, maxMessageBytes, systemClock } from '@holdfast/core';
import { WebSocket, WebSocketServer } from 'ws';
import { abortOnClose } from './active-requests.ts';
import { MessageSocket } from './message-socket.ts';
import { ByteSink, EventSink } from './outgoing-stream.ts';

type Handle = (outgoing: ServerResponse, signal: AbortSignal) => Promise<void>;

const addressOf = (server: Server): AddressInfo => {
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address;
};

const serve = async (handle: Handle): Promise<AsyncDisposable & { port: number }> => {
  const server = createServer((_, outgoing) => {
    const controller = new AbortController();
    abortOnClose(outgoing, controller);
    void handle(outgoing, controller.signal);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: addressOf(server).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

const open = async (port: number): Promise<IncomingMessage> => {
  const request = get({ port, host: '127.0.0.1', agent: false });
  const answer: IncomingMessage = await new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  answer.on('error', () => undefined);
  return answer;
};

const chunk = new Uint8Array(65_536);
/** More than all buffers between two processes of one machine. */
const enough = 1_024;

/** Chunks that a writer got rid of before it was held back for good, or all of them. */
const writeUntilHeld = async (write: () => Promise<void>, written: () => void): Promise<void> => {
  for (let i = 0; i < enough; i += 1) {
    await write();
    written();
  }
};

/** Resolves once the value no longer changes: the only sign there is of somebody who is held back. */
const atRest = async (value: () => number): Promise<void> => {
  let before: number;
  do {
    before = value();
    await systemClock.sleep(200);
  } while (before !== value());
};

test('[R-backpressure] an answer of bytes waits for a client that does not read, and stops when it goes', async () => {
  let written = 0;
  const stopped = Promise.withResolvers<unknown>();
  await using server = await serve(async (outgoing, signal) => {
    const sink = new ByteSink(outgoing, signal, 'req_1');
    writeUntilHeld(
      () => sink.write(chunk),
      () => (written += 1),
    ).then(() => stopped.resolve(null), stopped.resolve);
  });
  const answer = await open(server.port);
  // Reading nothing, the source must come to rest well before its end.
  await atRest(() => written);
  assert.ok(written > 0 && written < enough, `${written} chunks went out`);
  answer.destroy();
  const reason = await stopped.promise;
  assert.ok(reason instanceof HoldfastError && reason.code === 'request.aborted');
});

test('[R-backpressure] events arrive whole and in order, errors as the last of them', async () => {
  await using server = await serve(async (outgoing, signal) => {
    const sink = new EventSink<{ n: number }>(outgoing, signal, 'req_1');
    for (let n = 0; n < 3; n += 1) await sink.send({ n });
    sink.fail(new HoldfastError('guest.disconnected'));
  });
  const answer = await open(server.port);
  let text = '';
  for await (const part of answer) text += String(part);
  const [one, two, three, last, rest] = text.split('\n\n');
  assert.deepEqual([one, two, three], ['data: {"n":0}', 'data: {"n":1}', 'data: {"n":2}']);
  assert.match(last ?? '', /^event: error\ndata: \{.*"code":"guest\.disconnected".*\}$/);
  assert.equal(rest, '');
});

test('bytes that fail in the middle break off: no client takes that for the end', async () => {
  await using server = await serve(async (outgoing, signal) => {
    const sink = new ByteSink(outgoing, signal, 'req_1');
    await sink.write(chunk);
    sink.fail();
  });
  const answer = await open(server.port);
  answer.resume();
  await new Promise((resolve) => {
    answer.once('close', resolve);
  });
  assert.equal(answer.complete, false);
});

const socketPair = async (): Promise<AsyncDisposable & { channel: MessageSocket; client: WebSocket }> => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', maxPayload: maxMessageBytes });
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const accepted = new Promise<MessageSocket>((resolve) => {
    server.once('connection', (socket) => resolve(new MessageSocket(socket, systemClock)));
  });
  const client = new WebSocket(`ws://127.0.0.1:${address.port}`);
  client.on('error', () => undefined);
  await once(client, 'open');
  return {
    client,
    channel: await accepted,
    [Symbol.asyncDispose]: async () => {
      client.terminate();
      for (const socket of server.clients) socket.terminate();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
};

test('[R-backpressure] a WebSocket that nobody reads holds its sender back', async () => {
  await using pair = await socketPair();
  pair.client.pause();
  let sent = 0;
  const ended = writeUntilHeld(
    () => pair.channel.send(chunk),
    () => (sent += 1),
  ).catch((error: unknown) => error);
  await atRest(() => sent);
  assert.ok(sent > 0 && sent < enough, `${sent} messages went out`);
  pair.client.terminate();
  const error = await ended;
  assert.ok(error instanceof HoldfastError && error.code === 'request.aborted');
});

test('[R-backpressure] messages that nobody takes pause the client; then all of them arrive in order', async () => {
  await using pair = await socketPair();
  const count = 500;
  for (let i = 0; i < count; i += 1) pair.client.send(Buffer.alloc(65_536, i % 251));
  const socket = Reflect.get(pair.client, '_socket');
  assert.ok(socket instanceof Socket);
  await atRest(() => socket.writableLength);
  assert.ok(socket.writableLength > 0, 'everything was taken in without a reader');
  let n = 0;
  for await (const message of pair.channel.messages()) {
    assert.ok(message.kind === 'bytes');
    assert.equal(message.data[0], n % 251);
    n += 1;
    if (n === count) break;
  }
  assert.equal(n, count);
});

test('[R-input-bounded] a message that is too long ends the connection', async () => {
  await using pair = await socketPair();
  pair.client.send(Buffer.alloc(maxMessageBytes + 1));
  const [code] = await once(pair.client, 'close');
  assert.equal(code, 1009);
  await pair.channel.closed;
});
