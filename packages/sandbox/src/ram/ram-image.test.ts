import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import { forgeIndex, wrongIndexes } from '../../native/test/image-file.ts';
import { crc32c } from './crc32c.ts';
import { verifyRamImage } from './ram-image.ts';
import { parseRamIndex, readRamIndex } from './ram-index.ts';

const ramBytes = 1024 * 1024;
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ram-image-'));
});
after(() => rm(folder, { recursive: true }));

const corrupt =
  (details: Readonly<Record<string, unknown>>) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError &&
    error.code === 'ram.corrupt' &&
    Object.entries(details).every(([key, value]) => error.details[key] === value);

const extents = [
  { firstPage: 3, pages: 2, layer: 0 },
  { firstPage: 5, pages: 1, layer: 2 },
  { firstPage: 255, pages: 1, layer: 0 },
];

test('an index is read as it was written', () => {
  const index = parseRamIndex(forgeIndex({ extents, ramBytes, checksum: 0xfedcba98 }));
  assert.deepEqual(index.extents, extents);
  assert.deepEqual([index.ramBytes, index.pageCount, index.layerCount], [ramBytes, 4, 3]);
  assert.deepEqual([...index.checksums], Array(4).fill(0xfedcba98));
});

test('an empty image is an image', () => {
  const index = parseRamIndex(forgeIndex({ extents: [], ramBytes }));
  assert.deepEqual([index.pageCount, index.layerCount, index.extents.length], [0, 0, 0]);
});

test('each kind of wrong index is refused', () => {
  for (const [name, content] of Object.entries(wrongIndexes(ramBytes))) {
    assert.throws(() => parseRamIndex(content), corrupt({}), name);
  }
  const layer = { firstPage: 0, pages: 1, layer: 64 };
  assert.throws(() => parseRamIndex(forgeIndex({ extents: [layer], ramBytes })), corrupt({}));
});

test('every single-bit error in an index is noticed', () => {
  const good = forgeIndex({ extents, ramBytes });
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bad = Buffer.from(good);
    bad.writeUInt8(bad.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    assert.throws(() => parseRamIndex(bad), corrupt({}), `bit ${bit}`);
  }
});

test('a symbolic link or a folder in place of the index is not followed', async () => {
  const real = join(folder, 'real');
  await writeFile(real, forgeIndex({ extents: [], ramBytes }));
  await symlink(real, join(folder, 'link'));
  assert.equal((await readRamIndex(real)).pageCount, 0);
  await assert.rejects(readRamIndex(join(folder, 'link')), { code: 'ELOOP' });
  await assert.rejects(readRamIndex(folder), corrupt({ reason: 'not a regular file' }));
});

test('all pages of an image are checked, in each layer', async () => {
  const page = Buffer.alloc(4096, 0x5a);
  const layers = [join(folder, 'layer-0'), join(folder, 'layer-1')];
  const index = join(folder, 'index');
  const content = Buffer.alloc(ramBytes, page);
  const shared = [
    { firstPage: 10, pages: 100, layer: 0 },
    { firstPage: 110, pages: 7, layer: 1 },
  ];
  await writeFile(index, forgeIndex({ extents: shared, ramBytes, checksum: crc32c(page) }));
  for (const path of layers) await writeFile(path, content);
  assert.equal(await verifyRamImage(index, layers), 107);

  const spoilt = Buffer.from(content);
  spoilt.writeUInt8(0, 9 * 4096 + 4095);
  spoilt.writeUInt8(0, 117 * 4096);
  await writeFile(layers[1] ?? '', spoilt);
  assert.equal(await verifyRamImage(index, layers), 107, 'pages next to the extents do not matter');
  spoilt.writeUInt8(0, 117 * 4096 - 1);
  await writeFile(layers[1] ?? '', spoilt);
  await assert.rejects(verifyRamImage(index, layers), corrupt({ page: 116, layer: 1 }));
  await assert.rejects(verifyRamImage(index, layers.slice(0, 1)), corrupt({ reason: 'layer 1' }));
  await writeFile(layers[1] ?? '', content.subarray(0, 112 * 4096 + 10));
  await assert.rejects(verifyRamImage(index, layers), corrupt({ page: 112, layer: 1 }));
  await assert.rejects(verifyRamImage(index, layers, AbortSignal.abort(new Error('enough'))), /enough/);
});
