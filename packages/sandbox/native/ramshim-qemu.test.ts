import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { verifyRamImage } from '../src/ram/index.ts';
import { type Built, build, templateFile } from './test/fake-machine.ts';
import { QemuMachine, type QemuOptions } from './test/qemu-machine.ts';

const memoryMib = 64;
const pages = memoryMib * 256;
const asRoot = process.getuid?.() === 0;

let built: Built;
let ram: string;
let folders = 0;

before(async () => {
  built = await build();
  ram = await templateFile(join(built.folder, 'ram'), pages);
  // What the server does with a template: nobody may write it.
  await chmod(ram, 0o444);
  await chmod(built.folder, 0o755);
});
after(() => built.remove());

const start = (options: Partial<QemuOptions> = {}): Promise<QemuMachine> =>
  QemuMachine.start({
    folder: join(built.folder, `machine-${++folders}`),
    ram,
    memoryMib,
    shimFile: built.shimFile,
    ...options,
  });

async function imageFolder(): Promise<{ index: string; data: string }> {
  const folder = join(built.folder, `image-${++folders}`);
  await mkdir(folder);
  return { index: join(folder, 'index'), data: join(folder, 'data') };
}

const page = (number: number): number => number * 4096;
const pattern = (length: number, seed: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 255));
const digest = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

test('a stock QEMU maps its RAM through the shim, read-only, and every thread has the seccomp filter', async () => {
  await using machine = await start();
  const status = await machine.shim.status();
  assert.deepEqual([status.mapped, status.shared, status.writable], [true, false, false]);
  assert.equal(status.ramBytes, memoryMib * 1024 * 1024);
  const modes = await machine.seccompModes();
  assert.ok(modes.length >= 3, 'QEMU, server and verifier');
  assert.deepEqual(new Set(modes), new Set(['2']));
  assert.equal((await machine.readMemory(page(300), 4)).readUInt32LE(), 301, "the template's content");
});

test('what the guest memory was changed to comes back in another QEMU, and the template stays', async () => {
  const image = await imageFolder();
  const before = await digest(ram);
  const scattered = pattern(3 * 4096, 1);
  const large = pattern(64 * 4096, 2);
  {
    await using machine = await start();
    await machine.writeMemory(page(700), scattered);
    await machine.writeMemory(page(1000), large);
    const saved = await machine.shim.save({ ...image, layer: 0, sync: true });
    assert.ok(saved.dirtyPages >= 67);
  }
  await verifyRamImage(image.index, [image.data]);
  await using machine = await start();
  const loaded = await machine.shim.load({ index: image.index, layers: [image.data], eagerPages: 0, verifyPages: 20 });
  assert.ok(loaded.mappedPages >= 64);
  assert.ok((await machine.readMemory(page(700), scattered.length)).equals(scattered));
  assert.ok((await machine.readMemory(page(1000), large.length)).equals(large));
  assert.equal((await machine.readMemory(page(999), 4)).readUInt32LE(), 1000);
  assert.equal((await loaded.verification).outcome, 'verified');
  await machine.writeMemory(page(1010), scattered);
  await machine.shim.save({ ...image, layer: 0, sync: true });
  await verifyRamImage(image.index, [image.data]);
  assert.ok((await machine.readMemory(page(1010), scattered.length)).equals(scattered));
  assert.equal(await digest(ram), before);
});

test('RAM that is made after -preconfig is found too', async () => {
  await using machine = await start({ preconfig: true });
  assert.equal((await machine.shim.status()).mapped, false);
  const size = memoryMib * 1024 * 1024;
  await machine.qmp('object-add', { 'qom-type': 'memory-backend-file', id: 'm0', size, 'mem-path': ram, share: false });
  await machine.qmp('qom-set', { path: '/machine', property: 'memory-backend', value: 'm0' });
  await machine.qmp('x-exit-preconfig');
  const status = await machine.shim.status();
  assert.deepEqual([status.mapped, status.writable, status.ramBytes], [true, false, size]);
});

const nobody = 65_534;
const skip = asRoot ? false : 'needs root';

test('an unprivileged QEMU runs on a RAM file it may not write, saves and loads', { skip }, async () => {
  await assert.rejects(start({ uid: nobody, readOnly: false }), /Permission denied/);
  const image = await imageFolder();
  await chmod(dirname(image.index), 0o777);
  const content = pattern(20 * 4096, 5);
  {
    await using machine = await start({ uid: nobody });
    await machine.writeMemory(page(512), content);
    await machine.shim.save({ ...image, layer: 0, sync: true });
  }
  await using machine = await start({ uid: nobody });
  await machine.shim.load({ index: image.index, layers: [image.data], eagerPages: 0, verifyPages: pages });
  assert.ok((await machine.readMemory(page(512), content.length)).equals(content));
});
