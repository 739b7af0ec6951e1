import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { RamShim, readRamIndex, verifyRamImage } from '../src/ram/index.ts';
import { type Built, build, FakeMachine, sparseFile, templateFile, withCode } from './test/fake-machine.ts';
import { writeIndex } from './test/image-file.ts';

const mib = 1024 * 1024;
const bytes = 64 * mib;
const pages = bytes / 4096;

let built: Built;
let ram: string;
let folders = 0;

before(async () => {
  built = await build();
  ram = await templateFile(join(built.folder, 'ram'), pages);
});
after(() => built.remove());

const start = (env: Record<string, string> = {}): Promise<FakeMachine> => FakeMachine.start(built, { ram, bytes, env });

async function imageFolder(): Promise<{ index: string; data: string; folder: string }> {
  const folder = join(built.folder, `image-${++folders}`);
  await mkdir(folder);
  return { folder, index: join(folder, 'index'), data: join(folder, 'data') };
}

const load = { eagerPages: 0, verifyPages: pages };
const digest = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

test('both CRC-32C implementations give the published values', () => {
  const run = spawnSync(built.crcCheck, { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout);
});

test('the RAM file is opened read-only, the socket is private, the environment is clean', async () => {
  await using machine = await start();
  assert.match(await machine.tell('info'), /^ok read-only \d+ environment-clean$/);
  assert.equal((await stat(machine.socketPath)).mode & 0o777, 0o600);
  const status = await machine.shim.status();
  assert.deepEqual([status.mapped, status.shared, status.writable, status.ramBytes], [true, false, false, bytes]);
});

test('without HOLDFAST_RAM_READONLY the open stays as it was', async () => {
  await using machine = await FakeMachine.start(built, { ram, bytes, readOnly: false });
  assert.match(await machine.tell('info'), /^ok writable/);
});

for (const [method, env] of [
  ['ioctl', {}],
  ['pagemap', { HOLDFAST_RAM_NO_SCAN: '1' }],
] as const) {
  test(`what was changed comes back, and nothing else (${method})`, async () => {
    const image = await imageFolder();
    {
      await using machine = await start(env);
      assert.equal((await machine.shim.status()).scan, method);
      await machine.tell('scatter 10 50 7 1');
      await machine.tell('fill 1000 300 2');
      // Reading makes pages present without making them dirty.
      assert.equal(await machine.tell(`check-file 2000 500 ${ram}`), 'ok');
      assert.equal((await machine.shim.dirty()).dirtyPages, 350);
      const saved = await machine.shim.save({ ...image, layer: 0, sync: true });
      assert.deepEqual([saved.dirtyPages, saved.writtenBytes, saved.totalPages], [350, 350 * 4096, 350]);
      assert.equal(saved.indexBytes, (await stat(image.index)).size);
    }
    assert.equal(await verifyRamImage(image.index, [image.data]), 350);
    await using machine = await start(env);
    const loaded = await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
    assert.deepEqual(
      [loaded.copiedPages, loaded.mappedPages, loaded.mappings, loaded.verifiedPages],
      [50, 300, 1, 350],
    );
    assert.deepEqual(await loaded.verification, { outcome: 'verified', pages: 350 });
    assert.equal(await machine.tell('scattered 10 50 7 1'), 'ok');
    assert.equal(await machine.tell('check 1000 300 2'), 'ok');
    assert.equal(await machine.tell(`check-file 0 10 ${ram}`), 'ok');
    assert.equal(await machine.tell(`check-file 1300 ${pages - 1300} ${ram}`), 'ok');
    await machine.shim.reset();
    assert.equal(await machine.tell(`check-file 0 ${pages} ${ram}`), 'ok');
    assert.equal((await machine.shim.dirty()).dirtyPages, 0);
  });
}

test('large extents are mapped lazily, and writing to them never reaches the layer', async () => {
  const image = await imageFolder();
  {
    await using machine = await start();
    await machine.tell('fill 100 4000 3');
    await machine.shim.save({ ...image, layer: 0, sync: false });
  }
  const before = await digest(image.data);
  await using machine = await start();
  const loaded = await machine.shim.load({ index: image.index, layers: [image.data], eagerPages: 100, verifyPages: 0 });
  assert.deepEqual([loaded.copiedPages, loaded.mappedPages, loaded.mappings], [100, 3900, 1]);
  assert.equal((await machine.shim.dirty()).dirtyPages, 100, 'mapped pages are not private copies');
  await machine.tell('fill 2000 10 4');
  assert.equal((await machine.shim.dirty()).dirtyPages, 110);
  assert.deepEqual(await loaded.verification, { outcome: 'verified', pages: 4000 }, 'the guest may write meanwhile');
  assert.equal(await machine.tell('check 100 1900 3'), 'ok');
  assert.equal(await machine.tell('check 2000 10 4'), 'ok');
  assert.equal(await machine.tell('check 2010 2090 3'), 'ok');
  assert.equal(await digest(image.data), before);
});

test('a second save in place writes what changed and keeps the rest of the loaded image', async () => {
  const image = await imageFolder();
  {
    await using machine = await start();
    await machine.tell('fill 100 500 5');
    await machine.tell('fill 5000 3 5');
    await machine.shim.save({ ...image, layer: 0, sync: true });
  }
  {
    await using machine = await start();
    await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
    await machine.tell('fill 90 20 6');
    await machine.tell('fill 300 5 6');
    await machine.tell('fill 595 10 6');
    const saved = await machine.shim.save({ ...image, layer: 0, sync: true });
    // Those and the three that LOAD copied.
    assert.deepEqual([saved.dirtyPages, saved.totalPages], [38, 518]);
    await machine.tell('fill 91 1 7');
    await machine.shim.save({ ...image, layer: 0, sync: true });
  }
  assert.deepEqual((await readRamIndex(image.index)).extents, [
    { firstPage: 90, pages: 515, layer: 0 },
    { firstPage: 5000, pages: 3, layer: 0 },
  ]);
  assert.equal(await verifyRamImage(image.index, [image.data]), 518);
  await using machine = await start();
  await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
  for (const check of ['90 1 6', '91 1 7', '92 18 6', '110 190 5', '300 5 6', '305 290 5', '595 10 6', '5000 3 5'])
    assert.equal(await machine.tell(`check ${check}`), 'ok', check);
});

test('two children share a layer and keep their own changes', async () => {
  const parent = await imageFolder();
  {
    await using machine = await start();
    await machine.tell('fill 100 500 10');
    await machine.shim.save({ ...parent, layer: 0, sync: true });
  }
  const shared = await digest(parent.data);
  const children = [await imageFolder(), await imageFolder()];
  for (const [seed, child] of children.entries()) {
    await using machine = await start();
    await machine.shim.load({ ...load, index: parent.index, layers: [parent.data] });
    await machine.tell(`fill ${200 + seed * 50} 40 ${20 + seed}`);
    const saved = await machine.shim.save({ ...child, layer: 1, sync: true });
    assert.deepEqual([saved.dirtyPages, saved.totalPages], [40, 500]);
  }
  assert.equal(await digest(parent.data), shared);
  for (const [seed, child] of children.entries()) {
    const at = 200 + seed * 50;
    await using machine = await start();
    const loaded = await machine.shim.load({ ...load, index: child.index, layers: [parent.data, child.data] });
    assert.equal(loaded.mappings, 3);
    assert.equal(await machine.tell(`check 100 ${at - 100} 10`), 'ok');
    assert.equal(await machine.tell(`check ${at} 40 ${20 + seed}`), 'ok');
    assert.equal(await machine.tell(`check ${at + 40} ${560 - at} 10`), 'ok');
  }
});

test('a data file that is not the layer it is saved as is refused', async () => {
  const image = await imageFolder();
  const other = await imageFolder();
  await using machine = await start();
  await machine.tell('fill 100 50 1');
  await machine.shim.save({ ...image, layer: 0, sync: false });
  await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
  const before = await digest(image.data);
  await machine.tell('fill 100 50 2');
  const refused = withCode('ram.failed', { reason: /^layer / });
  await assert.rejects(machine.shim.save({ ...image, layer: 1, sync: false }), refused);
  await assert.rejects(machine.shim.save({ ...other, layer: 0, sync: false }), refused);
  await assert.rejects(machine.shim.save({ ...other, layer: 2, sync: false }), refused);
  assert.equal(await digest(image.data), before);
});

test('pages of zeros take no space and hide what the template has there', async () => {
  const image = await imageFolder();
  {
    await using machine = await start();
    await machine.tell('zero 1000 2000');
    const saved = await machine.shim.save({ ...image, layer: 0, sync: true });
    assert.deepEqual([saved.dirtyPages, saved.writtenBytes], [2000, 0]);
  }
  assert.ok((await stat(image.data)).blocks * 512 <= 16_384);
  {
    await using machine = await start();
    await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
    assert.equal(await machine.tell('check-zero 1000 2000'), 'ok');
    await machine.tell('fill 1000 2000 1');
    await machine.shim.save({ ...image, layer: 0, sync: true });
    assert.ok((await stat(image.data)).blocks * 512 >= 2000 * 4096);
    await machine.tell('zero 1000 2000');
    await machine.shim.save({ ...image, layer: 0, sync: true });
  }
  assert.ok((await stat(image.data)).blocks * 512 <= 16_384, 'the pages were given back');
  assert.equal(await verifyRamImage(image.index, [image.data]), 2000);
});

test('a RAM in small pieces comes back whole', async () => {
  const image = await imageFolder();
  {
    await using machine = await start();
    await machine.tell('scatter 1 8000 2 8');
    await machine.shim.save({ ...image, layer: 0, sync: false });
  }
  assert.equal((await readRamIndex(image.index)).extents.length, 8000);
  await using machine = await start();
  const loaded = await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
  assert.deepEqual([loaded.copiedPages, loaded.mappings], [8000, 0]);
  assert.equal(await machine.tell('scattered 1 8000 2 8'), 'ok');
});

test('more extents than may be mapped: the smallest are copied', async () => {
  const image = await imageFolder();
  const count = 16_700;
  const large = 2 * 1024 * mib;
  const ramFile = await sparseFile(join(image.folder, 'ram'), large);
  await sparseFile(image.data, large);
  const extents = Array.from({ length: count }, (_, i) => ({
    firstPage: i * 19,
    pages: i % 50 === 0 ? 16 : 17,
    layer: 0,
  }));
  await writeIndex(image.index, { extents, ramBytes: large });
  await using machine = await FakeMachine.start(built, { ram: ramFile, bytes: large });
  const loaded = await machine.shim.load({ index: image.index, layers: [image.data], eagerPages: 0, verifyPages: 0 });
  assert.equal(loaded.mappings, 16_384);
  // All 316 * 16 pages would have been 334 small ones; these and some of 17 make up the 316 beyond the limit.
  assert.equal(loaded.copiedPages, 316 * 16);
  assert.equal(
    loaded.mappedPages + loaded.copiedPages,
    extents.reduce((sum, extent) => sum + extent.pages, 0),
  );
});

test('a gigabyte is mapped', async (t) => {
  const image = await imageFolder();
  const large = 1024 * mib;
  const ramFile = await sparseFile(join(image.folder, 'ram'), large);
  await sparseFile(image.data, large);
  await writeIndex(image.index, { extents: [{ firstPage: 0, pages: large / 4096, layer: 0 }], ramBytes: large });
  await using machine = await FakeMachine.start(built, { ram: ramFile, bytes: large });
  const loaded = await machine.shim.load({ index: image.index, layers: [image.data], eagerPages: 0, verifyPages: 64 });
  assert.deepEqual([loaded.mappings, loaded.copiedPages, loaded.verifiedPages], [1, 0, 64]);
  t.diagnostic(`LOAD of 1 GiB: ${loaded.us} us`);
  await machine.shim.reset();
  assert.deepEqual((await loaded.verification).outcome, 'stopped');
});

test('the RAM of a template that is being made is not saved or loaded', async () => {
  const image = await imageFolder();
  const own = await templateFile(join(image.folder, 'ram'), 1024);
  await using machine = await FakeMachine.start(built, { ram: own, bytes: 4 * mib, shared: true, readOnly: false });
  assert.equal((await machine.shim.status()).shared, true);
  const refused = withCode('ram.failed', { reason: /^state / });
  await assert.rejects(machine.shim.save({ ...image, layer: 0, sync: false }), refused);
  await assert.rejects(machine.shim.load({ ...load, index: image.index, layers: [image.data] }), refused);
  await assert.rejects(machine.shim.reset(), refused);
});

test('paths may hold spaces, commas and percent signs', async () => {
  const { folder } = await imageFolder();
  const image = { index: join(folder, 'an index, 100%41 ü'), data: join(folder, 'some data,%2f') };
  await using machine = await start();
  await machine.tell('fill 7 20 1');
  await machine.shim.save({ ...image, layer: 0, sync: true });
  const loaded = await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
  assert.equal(loaded.mappedPages, 20);
});

test('a connection that ends leaves the next one the image', async () => {
  const image = await imageFolder();
  await using machine = await start();
  await machine.tell('fill 7 20 1');
  await machine.shim.save({ ...image, layer: 0, sync: true });
  await machine.shim.load({ ...load, index: image.index, layers: [image.data] });
  machine.shim.close();
  using next = await RamShim.connect(machine.socketPath);
  const status = await next.status();
  assert.deepEqual([status.loadedPages, status.layers, status.verify], [20, 1, 'done']);
});
