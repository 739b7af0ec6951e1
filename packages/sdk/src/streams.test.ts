import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import { createClient } from './client.ts';
import { collect, sendProblem, startContractServer } from './contract-server.ts';
import { parseEvents } from './event-stream.ts';

const params = { id: 'sbx_1' };
const encode = (text: string) => new TextEncoder().encode(text);

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test('events are parsed alike however the bytes are cut', async () => {
  const text =
    ': comment\r\ndata: ä one\r\n\r\nevent: error\ndata:two\ndata:  three\nid: 4\n\ndata\n\nevent: lost\n\n\r\rdata: last\r\r';
  const expected = [
    { event: 'message', data: 'ä one' },
    { event: 'error', data: 'two\n three' },
    { event: 'message', data: '' },
    { event: 'message', data: 'last' },
  ];
  for (const size of [1, 2, 3, 7, 1000]) {
    const events = await collect(parseEvents(pieces(encode(text), size)));
    // A final carriage return could still be half of a line end, so what it ends is not given out.
    assert.deepEqual(events, expected.slice(0, events.length));
    assert.ok(events.length >= 3);
  }
});

test('an endless event is refused instead of kept', async () => {
  async function* endless() {
    for (;;) yield encode(`data: ${'x'.repeat(1_000_000)}\n`);
  }
  await assert.rejects(collect(parseEvents(endless())), { code: 'server.answer_invalid' });
});

test('exec streams typed output, and leaving the loop ends the call at the server', async () => {
  let closed = 0;
  await using server = await startContractServer({
    answer: (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: {"type":"started","pid":7}\n\n: ping\n\n');
      response.write(`data: {"type":"stdout","data":"${Buffer.from('héllo').toString('base64')}"}\n\n`);
      response.on('close', () => {
        closed += 1;
      });
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  const seen: string[] = [];
  for await (const event of await client.sandbox('box').execStream(['echo', 'héllo'])) {
    seen.push(event.type);
    if (event.type === 'stdout') {
      assert.equal(new TextDecoder().decode(event.data), 'héllo');
      break;
    }
  }
  assert.deepEqual(seen, ['started', 'stdout']);
  while (closed < 1) await new Promise((resolve) => setImmediate(resolve));

  const aborted = await client.execStream({ params, body: { shell: 'x' } });
  const events: string[] = [];
  for await (const event of aborted) {
    events.push(event.type);
    if (event.type === 'stdout') aborted.abort();
  }
  assert.deepEqual(events, ['started', 'stdout']);
  while (closed < 2) await new Promise((resolve) => setImmediate(resolve));
});

test('an error within a stream, and an event that is not in the contract, are thrown to the reader', async () => {
  let text = `event: error\ndata: ${JSON.stringify({ nonsense: true })}\n\n`;
  await using server = await startContractServer({
    answer: (_, response) => {
      response.end(text);
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  const read = async () => collect(await client.execStream({ params, body: { shell: 'x' } }));
  await assert.rejects(read(), { code: 'internal.unexpected' });
  text = 'data: {"type":"surprise"}\n\n';
  await assert.rejects(read(), { code: 'server.answer_invalid' });
});

test('bytes are streamed both ways without being held in memory', async () => {
  const total = 64 * 1024 * 1024;
  const block = new Uint8Array(1024 * 1024).fill(7);
  let produced = 0;
  let received = 0;
  await using server = await startContractServer({
    answer: async ({ name, request }, response) => {
      if (name === 'writeFile') {
        for await (const chunk of request) received += chunk.length;
        response.end(JSON.stringify({ size: received }));
        return;
      }
      response.writeHead(200, { 'content-length': String(total), 'content-type': 'application/x-test' });
      for (; produced < total && !response.destroyed; produced += block.length) {
        if (!response.write(block)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
      }
      response.end();
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  let aheadMost = 0;
  let sent = 0;
  async function* body() {
    for (; sent < total; sent += block.length) {
      aheadMost = Math.max(aheadMost, sent - received);
      yield block;
    }
  }
  assert.deepEqual(await client.sandbox('box').writeFile('/big', body()), { size: total });
  assert.ok(aheadMost < total / 2, `the sender waits for the receiver (${aheadMost} bytes ahead)`);

  const file = await client.sandbox('box').openFile('/big');
  assert.equal(file.length, total);
  assert.equal(file.contentType, 'application/x-test');
  for await (const chunk of file) {
    assert.ok(chunk.byteLength > 0);
    break;
  }
  assert.ok(produced < total / 2, `an abandoned download stops the server (${produced} bytes produced)`);
  const tooLong = await client.sandbox('box').openFile('/big');
  await assert.rejects(tooLong.bytes(1024), { code: 'server.answer_invalid' });
});

test('a refusal that comes before the upload has ended is the answer', async () => {
  await using server = await startContractServer({
    answer: (_, response) => {
      sendProblem(response, new HoldfastError('quota.exceeded', 'The disk quota is used up.'));
    },
  });
  let ended = false;
  async function* endless() {
    try {
      for (;;) {
        yield new Uint8Array(65536);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      ended = true;
    }
  }
  const client = createClient({ url: server.url, apiKey: null });
  await assert.rejects(client.sandbox('box').writeFile('/a', endless()), { code: 'quota.exceeded' });
  while (!ended) await new Promise((resolve) => setImmediate(resolve));
});

test('an error of the source of an upload reaches the caller', async () => {
  await using server = await startContractServer({
    answer: async ({ request }) => {
      for await (const _ of request.on('error', () => undefined));
    },
  });
  async function* failing() {
    yield encode('some');
    throw new HoldfastError('local.path_invalid', 'the disk is gone');
  }
  const client = createClient({ url: server.url, apiKey: null });
  await assert.rejects(client.sandbox('box').writeFile('/a', failing()), { message: 'the disk is gone' });
});

test('a channel carries bytes and text both ways, with back-pressure', async () => {
  const total = 32 * 1024 * 1024;
  let unsent = 0;
  await using server = await startContractServer({
    socket: ({ params: { port } }, socket) => {
      if (port === 1) socket.on('message', (data, binary) => socket.send(data, { binary }));
      else {
        for (let at = 0; at < total; at += 65536) socket.send(new Uint8Array(65536).fill(at / 65536));
        const timer = setInterval(() => {
          unsent = socket.bufferedAmount;
        }, 5);
        socket.on('close', () => clearInterval(timer));
      }
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  await using echo = await client.sandbox('box').forward(1);
  await echo.send('text');
  await echo.send(new Uint8Array([1, 2, 3]));
  const messages = echo.messages();
  assert.deepEqual((await messages.next()).value, { kind: 'text', text: 'text' });
  const second = (await messages.next()).value;
  assert.ok(second?.kind === 'bytes');
  assert.deepEqual([...second.data], [1, 2, 3]);

  const flood = await client.sandbox('box').forward(2);
  while (unsent === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  let size = 0;
  for await (const message of flood.messages()) {
    size += message.kind === 'bytes' ? message.data.byteLength : 0;
    if (size === total) break;
  }
  assert.equal(size, total);
  assert.equal((await flood.closed).code, 1000);
  await assert.rejects(flood.send('late'), { code: 'server.unreachable' });
});

test('a channel as a Node stream', async () => {
  await using server = await startContractServer({
    socket: (_, socket) => socket.on('message', (data, binary) => socket.send(data, { binary })),
  });
  const client = createClient({ url: server.url, apiKey: null });
  const stream = (await client.sandbox('box').forward(80)).duplex();
  const content = new Uint8Array(3_000_000).map((_, i) => i % 251);
  const hash = createHash('sha256');
  let size = 0;
  stream.on('data', (chunk: Uint8Array) => {
    hash.update(chunk);
    size += chunk.byteLength;
    if (size === content.byteLength) stream.end();
  });
  for await (const piece of pieces(content, 1_100_000)) stream.write(piece);
  await once(stream, 'close');
  assert.equal(hash.digest('hex'), createHash('sha256').update(content).digest('hex'));
});

test('a refused upgrade has the code of its problem document', async () => {
  await using server = await startContractServer({});
  const client = createClient({ url: server.url, apiKey: null });
  await assert.rejects(client.sandbox('box').shell(), { code: 'auth.forbidden' });
  const reason = new Error('enough');
  await assert.rejects(client.sandbox('box').forward(1, { signal: AbortSignal.abort(reason) }), reason);
});

test('a channel that does not end as it should throws the reason to its reader', async () => {
  await using server = await startContractServer({
    socket: ({ params: { port } }, socket) => {
      socket.send('last words', () => {
        if (port === 1) socket.close(1011, 'guest.connection_refused');
        else if (port === 2) socket.close(1011, 'later.code');
        else if (port === 3) socket.terminate();
        else socket.close();
      });
    },
  });
  const sandbox = createClient({ url: server.url, apiKey: null }).sandbox('box');
  const read = async (port: number) => collect((await sandbox.forward(port)).messages());
  await assert.rejects(read(1), { code: 'guest.connection_refused' });
  await assert.rejects(read(2), {
    code: 'internal.unexpected',
    details: { closeCode: 1011, code: 'later.code', requestId: null },
  });
  await assert.rejects(read(3), { code: 'server.unreachable' });
  assert.deepEqual(await read(4), [{ kind: 'text', text: 'last words' }]);
});

test('a shell: typed text goes in, output comes out, then how it ended', async () => {
  await using server = await startContractServer({
    socket: ({ query }, socket) => {
      socket.send(encode(`${Number(query.rows)}x${Number(query.cols)}$ `));
      socket.on('message', (data, binary) => {
        const text = Buffer.isBuffer(data) ? data.toString() : '';
        if (!binary) socket.send(encode(`size ${text}\n`));
        else {
          socket.send(encode(`ran ${text}`));
          socket.send(JSON.stringify({ exitCode: 3, signal: null }));
        }
      });
    },
  });
  const client = createClient({ url: server.url, apiKey: null });
  await using shell = await client.sandbox('box').shell({ rows: 10, cols: 20 });
  await shell.resize({ rows: 5, cols: 6 });
  await shell.write('exit 3');
  let text = '';
  for await (const chunk of shell.output()) text += new TextDecoder().decode(chunk);
  assert.equal(text, '10x20$ size {"rows":5,"cols":6}\nran exit 3');
  assert.deepEqual(await shell.exit, { exitCode: 3, signal: null });
});
