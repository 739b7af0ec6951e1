import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HoldfastError, ManualClock } from '@holdfast/core';
import { RamShim, type RamShimOptions } from './ram-shim.ts';
import { encodePath } from './shim-line.ts';

// The process on the other side counts as hostile, so here it is one: each test says what it sends.

let folder: string;
let sockets = 0;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ram-shim-'));
});
after(() => rm(folder, { recursive: true }));

class Peer {
  readonly shim: RamShim;
  readonly received: string[] = [];
  readonly #server: Server;
  readonly #socket: Socket;
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  private constructor(server: Server, socket: Socket, shim: RamShim) {
    this.#server = server;
    this.#socket = socket;
    this.shim = shim;
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      this.received.push(...String(chunk).split('\n').slice(0, -1));
      for (const waiting of this.#waiting) if (this.received.length >= waiting.count) waiting.resolve();
    });
  }

  static async start(options: RamShimOptions = {}): Promise<Peer> {
    const path = join(folder, `socket-${++sockets}`);
    const accepted = Promise.withResolvers<Socket>();
    const server = createServer(accepted.resolve);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const shim = await RamShim.connect(path, options);
    return new Peer(server, await accepted.promise, shim);
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  hangUp(): void {
    this.#socket.destroy();
  }

  async lines(count: number): Promise<void> {
    if (this.received.length >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }

  [Symbol.dispose](): void {
    this.shim.close();
    this.#socket.destroy();
    this.#server.close();
  }
}

const withCode =
  (code: string, details: Readonly<Record<string, unknown>> = {}) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError &&
    error.code === code &&
    Object.entries(details).every(([key, value]) => error.details[key] === value);

const save = { index: '/m/i', data: '/m/d', layer: 0, sync: true };
const load = { index: '/m/i', layers: ['/m/a', '/m/b c'], eagerPages: 5, verifyPages: 7 };
const loadAnswer = 'OK {"copiedPages":3,"mappedPages":20,"mappings":1,"verifiedPages":7,"us":9}\n';
const dirtyAnswer = 'OK {"dirtyPages":3,"runs":2,"us":9}\n';

test('commands and answers have the documented form', async () => {
  using peer = await Peer.start();
  peer.send('OK {"dirtyPages":1,"writtenBytes":4096,"totalPages":2,"indexBytes":56,"us":3}\n');
  assert.equal((await peer.shim.save(save)).totalPages, 2);
  peer.send(loadAnswer);
  assert.equal((await peer.shim.load(load)).mappedPages, 20);
  peer.send('OK {}\n');
  await peer.shim.reset();
  await peer.lines(3);
  assert.deepEqual(peer.received, [
    'SAVE index=/m/i data=/m/d layer=0 sync=1',
    'LOAD index=/m/i layers=/m/a,/m/b%20c eager=5 verify=7',
    'RESET',
  ]);
});

test('answers belong to commands in their order, however the bytes are cut', async () => {
  using peer = await Peer.start();
  const both = Promise.all([peer.shim.dirty(), peer.shim.dirty()]);
  await peer.lines(2);
  for (const byte of 'OK {"dirtyPages":1,"runs":1,"us":9}\nOK {"dirtyPages":2,"runs":1,"us":9}\n') peer.send(byte);
  assert.deepEqual(
    (await both).map((answer) => answer.dirtyPages),
    [1, 2],
  );
});

test('an event right behind the answer, or much later, ends the verification', async () => {
  using peer = await Peer.start();
  peer.send(`${loadAnswer}EVENT {"verified":23}\n`);
  assert.deepEqual(await (await peer.shim.load(load)).verification, { outcome: 'verified', pages: 23 });
  peer.send(loadAnswer);
  const second = await peer.shim.load(load);
  peer.send(`EVENT {"stopped":9}\n${loadAnswer}`);
  const third = await peer.shim.load(load);
  assert.deepEqual(await second.verification, { outcome: 'stopped', pages: 9 });
  peer.send('EVENT {"corrupt":77}\n');
  assert.deepEqual(await third.verification, { outcome: 'corrupt', page: 77 });
  peer.send(loadAnswer);
  const last = await peer.shim.load(load);
  peer.hangUp();
  assert.deepEqual(await last.verification, { outcome: 'unknown' });
  await peer.shim.closed;
});

test('errors become codes of the catalogue', async () => {
  using peer = await Peer.start();
  const expected = [
    ['LOAD', 'corrupt page=123', 'ram.corrupt', { page: 123 }],
    ['LOAD', 'index the checksum of the index does not match', 'ram.corrupt', {}],
    ['LOAD', 'ENOENT open a layer', 'ram.corrupt', {}],
    ['LOAD', 'ENOMEM map a layer', 'ram.failed', { reason: 'ENOMEM map a layer' }],
    ['SAVE', 'ENOSPC write the data file', 'ram.no_space', {}],
    ['SAVE', 'EDQUOT write the data file', 'ram.no_space', {}],
    ['SAVE', 'layer the data file is that of loaded layer 0', 'ram.failed', {}],
  ] as const;
  for (const [verb, text, code, details] of expected) {
    peer.send(`ERR ${text}\n`);
    await assert.rejects(verb === 'LOAD' ? peer.shim.load(load) : peer.shim.save(save), withCode(code, details), text);
  }
  peer.send(dirtyAnswer);
  assert.equal((await peer.shim.dirty()).dirtyPages, 3);
});

const hostileAnswers: Readonly<Record<string, string>> = {
  'no line of the protocol': 'HELLO {}\n',
  'empty line': '\n',
  'no JSON': 'OK {"dirtyPages":\n',
  'other fields': 'OK {"dirtyPages":1,"runs":1,"us":1,"more":1}\n',
  'missing fields': 'OK {"dirtyPages":1}\n',
  'negative number': 'OK {"dirtyPages":-1,"runs":1,"us":1}\n',
  fraction: 'OK {"dirtyPages":1.5,"runs":1,"us":1}\n',
  'number as text': 'OK {"dirtyPages":"1","runs":1,"us":1}\n',
  'number beyond doubles': 'OK {"dirtyPages":1e300,"runs":1,"us":1}\n',
  array: 'OK [1]\n',
  prototype: 'OK {"__proto__":{"dirtyPages":1},"runs":1,"us":1}\n',
  'error without message': 'ERR\n',
  'error with control characters': 'ERR usage \u001b[2J\n',
  'error with a long code': `ERR ${'a'.repeat(100)} x\n`,
  'unknown event': 'EVENT {"done":1}\n',
  'event without number': 'EVENT {"verified":"all"}\n',
  'line too long': `OK ${'x'.repeat(5000)}\n`,
  'line without end': 'x'.repeat(100_000),
};

for (const [name, text] of Object.entries(hostileAnswers)) {
  test(`a hostile answer closes the connection: ${name}`, async () => {
    using peer = await Peer.start();
    const first = peer.shim.dirty();
    const second = peer.shim.status();
    peer.send(text);
    await assert.rejects(first, withCode('ram.unavailable'));
    await assert.rejects(second, withCode('ram.unavailable'));
    await peer.shim.closed;
    await assert.rejects(peer.shim.dirty(), withCode('ram.unavailable'));
  });
}

test('an answer that nobody asked for closes the connection', async () => {
  using peer = await Peer.start();
  peer.send(dirtyAnswer);
  await peer.shim.closed;
});

test('a command that is not answered in time closes the connection', async () => {
  const clock = new ManualClock();
  using peer = await Peer.start({ clock, timeoutMs: 1_000 });
  const answer = peer.shim.save(save);
  await peer.lines(1);
  clock.advance(999);
  peer.send('EVENT {"verified":1}\n');
  clock.advance(1);
  await assert.rejects(answer, withCode('ram.unavailable', { command: 'SAVE' }));
  await peer.shim.closed;
});

test('commands that wait are bounded', async () => {
  using peer = await Peer.start();
  const all = Array.from({ length: 17 }, () => peer.shim.dirty());
  await assert.rejects(all.at(-1) ?? Promise.resolve(), withCode('ram.failed'));
  peer.hangUp();
  for (const one of all.slice(0, -1)) await assert.rejects(one, withCode('ram.unavailable'));
});

test('paths that the line cannot carry are encoded or refused', async () => {
  assert.equal(encodePath('/a b\n,%\u007fü'), '/a%20b%0a%2c%25%7fü');
  assert.throws(() => encodePath(''), withCode('ram.failed'));
  assert.throws(() => encodePath('/a\0'), withCode('ram.failed'));
  using peer = await Peer.start();
  const layers = Array.from({ length: 64 }, () => `/${'x'.repeat(2000)}`);
  await assert.rejects(peer.shim.load({ ...load, layers }), withCode('ram.failed'));
  await assert.rejects(peer.shim.load({ ...load, index: '/a\0' }), withCode('ram.failed'));
});

test('a socket that is not there', async () => {
  await assert.rejects(RamShim.connect(join(folder, 'nothing')), withCode('ram.unavailable'));
});
