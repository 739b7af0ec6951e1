import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HoldfastError, systemRandom } from '@holdfast/core';
import { TemplateStore } from '@holdfast/sandbox';

const bound = { timeout: 900_000 };
const checkout = join(import.meta.dirname, '../..');

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-template-'));
});

after(() => rm(folder, { recursive: true, force: true }));

/** Everything below a folder, by its path in it. */
const filesBelow = async (path: string): Promise<string[]> => (await readdir(path, { recursive: true })).sort();

test('a recipe that fails half-way says why, leaves nothing, and is built when it is right', bound, async () => {
  const wanted = join(folder, 'wanted-by-the-recipe');
  const recipe = {
    name: 'small',
    suite: 'bookworm',
    packages: [],
    commands: ['echo looking for it', `test -e ${wanted} || { echo it is not there; exit 3; }`],
    warmUp: ['test -d /workspace'],
    diskMib: 256,
  };
  const machines = { folder: join(folder, 'run'), runtime: join(folder, 'runtime') };
  for (const path of [...Object.values(machines), join(folder, 'templates')]) await mkdir(path, { mode: 0o755 });
  const store = new TemplateStore({
    ...{ folder: join(folder, 'templates'), machines, recipes: [recipe], nodePath: process.execPath },
    sources: { guest: join(checkout, 'guest'), native: join(checkout, 'packages/sandbox/native') },
    ...{ marker: 'holdfast-test', uid: 61_990, random: systemRandom, now: () => performance.now() },
  });
  await assert.rejects(store.frozen('small', 512), (error) => {
    assert.ok(error instanceof HoldfastError);
    assert.equal(error.code, 'template.build_failed');
    assert.match(error.message, /small/);
    assert.match(String(error.details['output']), /it is not there/);
    return true;
  });
  const { state, error, progress, tiersMib } = await store.status('small');
  assert.deepEqual([state, progress, tiersMib], ['failed', null, []]);
  assert.match(error ?? '', /small/);
  const left = (await filesBelow(join(folder, 'templates'))).filter((path) => /erofs|partial|frozen/.test(path));
  assert.deepEqual(left, []);
  assert.deepEqual(await filesBelow(machines.folder), []);

  await writeFile(wanted, '');
  const frozen = await store.frozen('small', 512);
  assert.deepEqual([frozen.name, frozen.shape.memoryMib, frozen.diskMib], ['small', 512, 256]);
  const after = await store.status('small');
  assert.deepEqual([after.state, after.error, after.tiersMib], ['ready', null, [512]]);
  assert.deepEqual(
    (await filesBelow(join(folder, 'templates'))).filter((path) => path.includes('partial')),
    [],
  );
  assert.deepEqual(await filesBelow(machines.folder), []);
  await assert.rejects(async () => store.frozen('unknown', 512), { code: 'template.not_found' });
});
