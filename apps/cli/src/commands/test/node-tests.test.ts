import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runNodeTests } from './node-tests.ts';

/** The runner marks its children in the environment; a runner inside would otherwise report to the outer one. */
const env = { PATH: process.env['PATH'] };

const outcomeOf = async (files: Readonly<Record<string, string>>, deadlineMs = 60_000) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-node-tests-'));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return await runNodeTests({
      name: 'sample',
      checkout: folder,
      patterns: ['*.test.ts'],
      concurrency: 1,
      env,
      deadlineMs,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const head = `import { describe, test } from 'node:test';\n`;

test('passed, failed and skipped tests of all files are counted', async () => {
  const outcome = await outcomeOf({
    'a.test.ts': `${head}test('one', () => undefined);\ntest.skip('two', () => undefined);`,
    'b.test.ts': `${head}describe('group', () => { test('bad', () => { throw new Error('told so'); }); test('good', () => undefined); });`,
  });
  assert.equal(outcome.passed, 2);
  assert.equal(outcome.failed, 1);
  assert.equal(outcome.skipped, 1);
  assert.equal(outcome.failures[0]?.name, 'bad');
  assert.match(outcome.failures[0]?.at ?? '', /^b\.test\.ts:\d+$/);
  assert.match(outcome.failures[0]?.message ?? '', /told so/);
});

test('a file that cannot be loaded is a failure', async () => {
  const outcome = await outcomeOf({ 'a.test.ts': `import './missing.ts';` });
  assert.equal(outcome.passed, 0);
  assert.ok(outcome.failed >= 1);
  assert.match(JSON.stringify(outcome.failures), /missing\.ts/);
});

test('a step without test files, or whose files hold no test, is a failure', async () => {
  assert.equal((await outcomeOf({})).failed, 1);
  const empty = await outcomeOf({ 'a.test.ts': `${head}test.skip('later', () => undefined);` });
  assert.equal(empty.failed, 1);
});

test('the line that tells the seed of a random test is shown', async () => {
  const outcome = await outcomeOf({
    'a.test.ts': `${head}test('random', () => { console.log('seed 42 (set X to repeat)'); console.log('noise'); });`,
  });
  assert.deepEqual(outcome.remarks, ['seed 42 (set X to repeat)']);
});

test('a file that never ends is killed at the deadline and is a failure', async () => {
  const outcome = await outcomeOf(
    { 'a.test.ts': `${head}test('stuck', () => new Promise(() => setInterval(() => undefined, 1000)));` },
    3_000,
  );
  assert.ok(outcome.failed >= 1);
  assert.match(JSON.stringify(outcome.failures), /Killed after 3 s/);
});
