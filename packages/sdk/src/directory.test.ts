import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { packTar, type TarEntry } from 'modern-tar';
import { createClient } from './client.ts';
import { collect, startContractServer } from './contract-server.ts';
import { packDirectory, unpackDirectory } from './directory.ts';

const scratch = async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-sdk-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
};

const bytes = async (source: AsyncIterable<Uint8Array>) => Buffer.concat(await collect(source));

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

test('a directory goes up and comes down the same', async () => {
  await using folder = await scratch();
  const from = join(folder.path, 'from');
  await mkdir(join(from, 'deep/er'), { recursive: true });
  await mkdir(join(from, 'left out/x'), { recursive: true });
  await writeFile(join(from, 'run.sh'), '#!/bin/sh\n');
  await chmod(join(from, 'run.sh'), 0o755);
  await writeFile(join(from, `deep/er/${'long-name-'.repeat(15)}ü.txt`), 'x'.repeat(200_000));
  await writeFile(join(from, 'empty'), '');
  await symlink('deep/er', join(from, 'link'));

  let stored: Buffer = Buffer.alloc(0);
  await using server = await startContractServer({
    answer: async ({ name, request }, response) => {
      if (name === 'uploadTree') {
        stored = await bytes(request);
        response.end(JSON.stringify({ size: stored.length }));
      } else response.end(stored);
    },
  });
  const sandbox = createClient({ url: server.url, apiKey: null }).sandbox('box');
  const { size } = await sandbox.uploadDirectory(from, '/work', { filter: (path) => path !== 'left out' });
  assert.equal(size, stored.length);
  const to = join(folder.path, 'to');
  const result = await sandbox.downloadDirectory('/work', to);
  assert.deepEqual(result.skipped, []);
  assert.equal(result.bytes, 200_000 + 10);
  assert.deepEqual((await readdir(to)).sort(), ['deep', 'empty', 'link', 'run.sh']);
  assert.equal((await readFile(join(to, `link/${'long-name-'.repeat(15)}ü.txt`), 'utf8')).length, 200_000);
  assert.equal((await stat(join(to, 'run.sh'))).mode & 0o777, 0o755);
  assert.equal(await readlink(join(to, 'link')), 'deep/er');
});

test('[R-sdk-download-contained] a hostile archive writes nothing outside the directory', async () => {
  await using folder = await scratch();
  const outside = join(folder.path, 'outside');
  await mkdir(outside);
  const to = join(folder.path, 'to');
  const archive = async (headers: readonly TarEntry['header'][]) =>
    once(await packTar(headers.map((header) => (header.size > 0 ? { header, body: 'evil' } : { header }))));
  const result = await unpackDirectory(
    await archive([
      { name: '../outside/a', size: 4 },
      { name: '/outside/b', size: 4 },
      { name: 'up', type: 'symlink', linkname: '../outside', size: 0 },
      { name: 'absolute', type: 'symlink', linkname: outside, size: 0 },
      { name: 'hard', type: 'link', linkname: '../../etc/passwd', size: 0 },
      { name: 'fifo', type: 'fifo', size: 0 },
      { name: 'disk', type: 'block-device', size: 0 },
      { name: 'fine', size: 4, mode: 0o6755 },
    ]),
    to,
  );
  assert.deepEqual(
    result.skipped.map(({ path }) => path),
    ['../outside/a', '/outside/b', 'up', 'absolute', 'hard', 'fifo', 'disk'],
  );
  assert.deepEqual(await readdir(to), ['fine']);
  assert.equal((await stat(join(to, 'fine'))).mode & 0o7000, 0);
  assert.deepEqual(await readdir(outside), []);

  // A link that stays inside by its text but leads outside through another one, and a file written through a link.
  const chained = await archive([
    { name: 'd', type: 'directory', size: 0 },
    { name: 'd/in', type: 'symlink', linkname: '..', size: 0 },
    { name: 'd/in/out', type: 'symlink', linkname: '../outside', size: 0 },
    { name: 'd/in/out/c', size: 4 },
  ]);
  await unpackDirectory(chained, join(folder.path, 'chained')).catch(() => undefined);
  assert.deepEqual(await readdir(outside), []);
});

test('a directory that does not exist or is a file is local.path_invalid', async () => {
  await using folder = await scratch();
  await writeFile(join(folder.path, 'file'), '');
  await assert.rejects(bytes(packDirectory(join(folder.path, 'none'))), { code: 'local.path_invalid' });
  await assert.rejects(bytes(packDirectory(join(folder.path, 'file'))), { code: 'local.path_invalid' });
  await assert.rejects(unpackDirectory(once(new Uint8Array(0)), join(folder.path, 'file/x')), {
    code: 'local.path_invalid',
  });
});

test('an archive that ends early or is no archive is an error', async () => {
  await using folder = await scratch();
  await writeFile(join(folder.path, 'a'), 'x'.repeat(5000));
  const whole = await bytes(packDirectory(folder.path));
  await assert.rejects(unpackDirectory(once(whole.subarray(0, 3000)), join(folder.path, 'cut')));
  await assert.rejects(unpackDirectory(once(new Uint8Array(2048).fill(65)), join(folder.path, 'junk')));
});
