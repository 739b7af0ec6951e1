import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readRamIndex, verifyRamImage } from '../src/ram/index.ts';
import { type Built, build, FakeMachine, sparseFile, templateFile, withCode } from './test/fake-machine.ts';
import { wrongIndexes } from './test/image-file.ts';

const mib = 1024 * 1024;
const bytes = 16 * mib;
const pages = bytes / 4096;

let built: Built;
let ram: string;
let folders = 0;

before(async () => {
  built = await build();
  ram = await templateFile(join(built.folder, 'ram'), pages);
});
after(() => built.remove());

const start = (): Promise<FakeMachine> => FakeMachine.start(built, { ram, bytes });

interface Image {
  readonly folder: string;
  readonly index: string;
  readonly data: string;
}

async function imageFolder(): Promise<Image> {
  const folder = join(built.folder, `image-${++folders}`);
  await mkdir(folder);
  return { folder, index: join(folder, 'index'), data: join(folder, 'data') };
}

/** Pages 100 to 599 in one extent, and page 1000. */
async function savedImage(): Promise<Image> {
  const image = await imageFolder();
  await using machine = await start();
  await machine.tell('fill 100 500 1');
  await machine.tell('fill 1000 1 1');
  await machine.shim.save({ ...image, layer: 0, sync: true });
  return image;
}

async function flipByte(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte.writeUInt8(byte.readUInt8() ^ 0x10);
  await file.write(byte, 0, 1, offset);
  await file.close();
}

const load = (image: Image, verifyPages: number) => ({
  index: image.index,
  layers: [image.data],
  eagerPages: 0,
  verifyPages,
});

async function assertPristine(machine: FakeMachine): Promise<void> {
  assert.equal(await machine.tell(`check-file 0 ${pages} ${ram}`), 'ok');
  assert.equal((await machine.shim.dirty()).dirtyPages, 0);
  assert.equal((await machine.shim.status()).loadedPages, 0);
}

test('each kind of wrong index is refused before the RAM is touched', async () => {
  const image = await imageFolder();
  await sparseFile(image.data, bytes);
  await using machine = await start();
  await machine.tell('fill 5 1 9');
  for (const [name, content] of Object.entries(wrongIndexes(bytes))) {
    await writeFile(image.index, content);
    await assert.rejects(machine.shim.load(load(image, 0)), withCode('ram.corrupt', { reason: /^index / }), name);
    await assert.rejects(readRamIndex(image.index), withCode('ram.corrupt'), name);
  }
  assert.equal(await machine.tell('check 5 1 9'), 'ok');
});

test('an index for another RAM size or with a layer that was not given is refused', async () => {
  const image = await savedImage();
  const small = await templateFile(join(image.folder, 'ram'), 2048);
  await using machine = await FakeMachine.start(built, { ram: small, bytes: 8 * mib });
  await assert.rejects(machine.shim.load(load(image, 0)), withCode('ram.corrupt', { reason: /made for a RAM/ }));
  await using child = await start();
  await child.shim.load(load(image, 0));
  await child.tell('fill 100 20 2');
  const second = join(image.folder, 'second');
  await child.shim.save({ index: second, data: join(image.folder, 'layer-1'), layer: 1, sync: false });
  const layers = [image.data];
  await assert.rejects(
    child.shim.load({ index: second, layers, eagerPages: 0, verifyPages: 0 }),
    withCode('ram.corrupt', { reason: /names layer 1/ }),
  );
  await assertPristine(child);
});

test('a damaged page is found before the answer, and the RAM is the template again', async () => {
  for (const page of [100, 371, 599, 1000]) {
    const image = await savedImage();
    await flipByte(image.data, page * 4096 + 77);
    await using machine = await start();
    await assert.rejects(machine.shim.load(load(image, pages)), withCode('ram.corrupt', { page }));
    await assertPristine(machine);
    await assert.rejects(verifyRamImage(image.index, [image.data]), withCode('ram.corrupt', { page, layer: 0 }));
  }
});

test('a damaged page beyond the budget is found in the background', async () => {
  const image = await savedImage();
  await flipByte(image.data, 512 * 4096);
  await using machine = await start();
  const loaded = await machine.shim.load(load(image, 200));
  assert.equal(loaded.verifiedPages, 200);
  assert.deepEqual(await loaded.verification, { outcome: 'corrupt', page: 512 });
  const status = await machine.shim.status();
  assert.deepEqual([status.verify, status.corruptPage], ['corrupt', 512]);
});

test('a layer that is cut off or gone is found before the RAM is touched', async () => {
  const image = await savedImage();
  await using machine = await start();
  await truncate(image.data, 600 * 4096);
  await assert.rejects(machine.shim.load(load(image, 0)), withCode('ram.corrupt', { reason: /layer 0 has/ }));
  await assert.rejects(verifyRamImage(image.index, [image.data]), withCode('ram.corrupt', { page: 1000 }));
  await rm(image.data);
  await assert.rejects(machine.shim.load(load(image, 0)), withCode('ram.corrupt', { reason: /^ENOENT / }));
  await mkdir(image.data);
  await assert.rejects(machine.shim.load(load(image, 0)), withCode('ram.corrupt', { reason: /not a regular file/ }));
  await assertPristine(machine);
});

test('a failed load drops what an earlier one had laid over the template', async () => {
  const good = await savedImage();
  const bad = await savedImage();
  await flipByte(bad.data, 100 * 4096);
  await using machine = await start();
  await machine.shim.load(load(good, pages));
  await assert.rejects(machine.shim.load(load(bad, pages)), withCode('ram.corrupt', { page: 100 }));
  await assertPristine(machine);
});

const asRoot = process.getuid?.() === 0;

test('a full disk fails the save and leaves the former index', {
  skip: asRoot ? false : 'mounting needs root',
}, async () => {
  const image = await imageFolder();
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', image.folder], { encoding: 'utf8' });
  assert.equal(mounted.status, 0, mounted.stderr);
  try {
    await using machine = await start();
    await machine.tell('fill 10 20 1');
    await machine.shim.save({ ...image, layer: 0, sync: true });
    const former = await readFile(image.index);
    await machine.tell('fill 1000 500 2');
    await assert.rejects(
      machine.shim.save({ ...image, layer: 0, sync: true }),
      withCode('ram.no_space', { reason: /^ENOSPC/ }),
    );
    assert.deepEqual(await readFile(image.index), former);
    // With room the same save goes through: nothing was lost.
    const again = await imageFolder();
    await machine.shim.save({ ...again, layer: 0, sync: true });
    assert.equal(await verifyRamImage(again.index, [again.data]), 520);
  } finally {
    spawnSync('umount', [image.folder]);
  }
});

test('a folder that does not exist fails the save with the name of the error', async () => {
  await using machine = await start();
  const image = { index: join(built.folder, 'nowhere/index'), data: join(built.folder, 'nowhere/data') };
  await assert.rejects(
    machine.shim.save({ ...image, layer: 0, sync: true }),
    withCode('ram.failed', { reason: /^ENOENT open the data file$/ }),
  );
});

/** Sends bytes and returns what comes back until the other side is silent after `answers` lines, or closes. */
async function rawAnswers(path: string, sent: string | Buffer, answers: number): Promise<string[]> {
  const socket = connect(path);
  socket.write(sent);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.split('\n').length > answers) break;
  }
  return text.split('\n').slice(0, -1);
}

const hostileLines: Readonly<Record<string, string>> = {
  'empty line': '',
  'unknown command': 'EXEC index=/etc/passwd',
  'lower case': 'status',
  'missing key': 'SAVE index=/a data=/b layer=0',
  'unknown key': 'STATUS x=1',
  'key twice': 'LOAD index=/a index=/a layers=/b eager=0 verify=0',
  'no value': 'SAVE index data=/b layer=0 sync=0',
  'empty path': 'SAVE index= data=/b layer=0 sync=0',
  'two paths': 'SAVE index=/a,/b data=/b layer=0 sync=0',
  'empty layer': 'LOAD index=/a layers=/b,,/c eager=0 verify=0',
  'negative number': 'LOAD index=/a layers=/b eager=-1 verify=0',
  'no number': 'LOAD index=/a layers=/b eager=NaN verify=0',
  'enormous number': `LOAD index=/a layers=/b eager=${'9'.repeat(40)} verify=0`,
  'layer too high': 'SAVE index=/a data=/b layer=64 sync=0',
  'sync out of range': 'SAVE index=/a data=/b layer=0 sync=2',
  'two spaces': 'STATUS  ',
  'NUL byte': 'STATUS\0',
  'carriage return': 'STATUS\r',
  'encoded NUL': 'SAVE index=/a%00 data=/b layer=0 sync=0',
  'half an escape': 'SAVE index=/a%4 data=/b layer=0 sync=0',
  'path too long': `SAVE index=/${'a'.repeat(5000)} data=/b layer=0 sync=0`,
  'too many layers': `LOAD index=/a layers=${Array(65).fill('/b').join(',')} eager=0 verify=0`,
  'format characters': 'SAVE index=%s%n data=/b layer=0 sync=0',
};

test('hostile command lines are refused one by one, and the shim goes on', async () => {
  await using machine = await start();
  machine.shim.close();
  const lines = Object.entries(hostileLines);
  const sent = `${lines.map(([, line]) => line).join('\n')}\nSTATUS\n`;
  const answers = await rawAnswers(machine.socketPath, sent, lines.length + 1);
  lines.forEach(([name], i) => {
    assert.match(answers[i] ?? '', /^ERR usage /, name);
  });
  assert.match(answers[lines.length] ?? '', /^OK \{"version":1,/);
});

test('a line that does not end closes the connection, not the shim', async () => {
  await using machine = await start();
  machine.shim.close();
  const answers = await rawAnswers(machine.socketPath, Buffer.alloc(200_000, 'x'), 10).catch(() => []);
  assert.ok(answers.length <= 1);
  const random = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7919 + (i >> 3)) & 255));
  await rawAnswers(machine.socketPath, Buffer.concat([random, Buffer.from('\n')]), 1);
  assert.match((await rawAnswers(machine.socketPath, 'STATUS\n', 1))[0] ?? '', /^OK /);
});
