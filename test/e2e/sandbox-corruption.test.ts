import assert from 'node:assert/strict';
import { open, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Sandbox } from '@holdfast/sdk';
import { startCounter, ticksBeyond } from './setup/counter.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { until } from './setup/until.ts';

const bound = { timeout: 300_000 };

let server: SandboxServer;
let box: Sandbox;

before(async () => {
  server = await SandboxServer.start();
  box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
});

after(() => server[Symbol.asyncDispose]());

/** The one file of a folder of the store; there is only one sandbox. */
const fileIn = async (folder: 'snapshots' | 'rams'): Promise<string> => {
  const path = join(server.home, 'sandboxes/store', folder);
  const entries = await readdir(path);
  assert.equal(entries.length, 1, `${folder}: ${entries.join(', ')}`);
  return join(path, entries[0] ?? '');
};

const flip = async (path: string, at: number): Promise<void> => {
  const file = await open(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 0x20;
    await file.write(byte, 0, 1, at);
  } finally {
    await file.close();
  }
};

/** The offset of a byte that is not zero, after such a part of the pages that a sparse file holds. */
const someByte = (bytes: Buffer, part = 0.5): number => {
  const used: number[] = [];
  for (let at = 0; at < bytes.length; at += 4_096) {
    const first = bytes.subarray(at, at + 4_096).findIndex((byte) => byte !== 0);
    if (first >= 0) used.push(at + first);
  }
  const found = used[Math.floor(used.length * part)];
  assert.ok(found !== undefined, 'the file holds nothing');
  return found;
};

const damages: readonly (readonly [string, () => Promise<void>])[] = [
  [
    'a flipped bit in the middle of the snapshot',
    async () => {
      const path = await fileIn('snapshots');
      await flip(path, someByte(await readFile(path)));
    },
  ],
  ['a snapshot that is gone', async () => rm(await fileIn('snapshots'))],
  [
    'a flipped bit at the start of the memory',
    async () => {
      const path = await fileIn('rams');
      await flip(path, someByte(await readFile(path), 0));
    },
  ],
  ['memory that is cut short', async () => truncate(await fileIn('rams'), 4_096)],
  ['memory that is gone', async () => rm(await fileIn('rams'))],
];

for (const [i, [what, damage]] of damages.entries())
  test(`[R-standby-checksums] ${what} is found and reported, and the disk boots with its files`, bound, async () => {
    await box.writeFile('/workspace/round', `round ${i}`);
    await startCounter(box);
    await ticksBeyond(box, 2);
    await box.standby();
    await damage();
    await assert.rejects(box.readText('/workspace/round'), { code: 'sandbox.standby_corrupt' });
    const { state, notice } = await box.info();
    assert.equal(state, 'stopped');
    assert.match(notice ?? '', /corrupt/);
    assert.equal((await box.events({ limit: 1_000 })).at(-1)?.type, 'standby_corrupt');
    assert.equal(await box.readText('/workspace/round'), `round ${i}`);
    assert.deepEqual(await box.processes(), [], 'its processes are gone');
    assert.equal((await box.info()).state, 'running');
    assert.equal((await box.events({ limit: 1_000 })).at(-1)?.type, 'cold_boot');
  });

test('[R-standby-checksums] damage deep in a large memory is found while the sandbox runs again', bound, async () => {
  await box.writeFile('/workspace/round', 'large');
  const program = 'import os, time; b = os.urandom(1 << 20) * 96; print("held", flush=True); time.sleep(9999)';
  await box.spawn('holder', ['python3', '-c', program]);
  await until('it holds its memory', async () => (await (await box.logs('holder')).text()) === 'held\n');
  await box.standby();
  const path = await fileIn('rams');
  await flip(path, someByte(await readFile(path), 0.7));
  const { seq = 0 } = (await box.events({ limit: 1_000 })).at(-1) ?? {};
  // Whether this call is answered depends on which of the two is faster.
  await box.exec('true').catch((error) => assert.equal(error.code, 'guest.disconnected'));
  await until('the damage is found', async () =>
    (await box.events({ after: seq })).some(({ type }) => type === 'standby_corrupt'),
  );
  assert.match((await box.info()).notice ?? '', /corrupt/);
  assert.equal(await box.readText('/workspace/round'), 'large');
  assert.deepEqual(await box.processes(), []);
});

test('[R-standby-checksums] damage that happened while no server ran is found as well', bound, async () => {
  await box.writeFile('/workspace/round', 'last');
  await box.standby();
  await server.stop();
  await flip(await fileIn('snapshots'), 100);
  await server.run();
  box = server.client.sandbox(box.idOrName);
  await assert.rejects(box.exec('true'), { code: 'sandbox.standby_corrupt' });
  assert.equal(await box.readText('/workspace/round'), 'last');
  const [child] = await box.fork();
  assert.equal(await child?.readText('/workspace/round'), 'last');
});
