import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HoldfastError, newId, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openTestDatabase } from '../test-database.ts';
import { until } from '../test-until.ts';
import { openPrices } from './open-prices.ts';
import { OverrideStore } from './override-store.ts';

let database: Database;
let dispose: () => Promise<void>;
let folder: string;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  folder = await mkdtemp(join(tmpdir(), 'holdfast-prices-'));
  dispose = async () => {
    await opened[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  };
});

after(() => dispose());

const newWorkspace = async (): Promise<string> => {
  const id = newId('ws');
  await database.kysely.insertInto('workspaces').values({ id, name: id, created_at: new Date() }).execute();
  return id;
};

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError && error.code === code;

const ports = () => ({ database, clock: systemClock, log: silentLog });

test('[R-prices-generated] an override holds for its workspace and from its time on, in every process at once', async () => {
  const [mine, theirs] = [await newWorkspace(), await newWorkspace()];
  const [here, there] = [await openPrices(ports()), await openPrices(ports())];
  const store = new OverrideStore(database, systemClock);
  const at = new Date('2026-11-22T00:00:00Z');
  const input = async (prices: typeof here, ws: string, when = at): Promise<number | undefined> =>
    (await prices.forWorkspace(ws)).find('openai', 'gpt-4.1-mini', when)?.rates.input?.microUsdPerMTok;
  assert.deepEqual([await input(here, mine), await input(there, mine)], [400_000, 400_000]);
  const over = { provider: 'openai', model: 'gpt-4.1-mini', effectiveFrom: '2026-11-01T00:00:00Z' };
  const made = await store.create(mine, { ...over, rates: { input: 7 } });
  await assert.rejects(store.create(mine, { ...over, rates: { input: 8 } }), hasCode('resource.conflict'));
  await until(
    async () => (await input(here, mine)) === 7 && (await input(there, mine)) === 7,
    'both know the override',
  );
  assert.equal(await input(here, mine, new Date('2026-10-31T23:59:59Z')), 400_000);
  assert.equal(await input(here, theirs), 400_000);
  await assert.rejects(store.remove(theirs, made.id), hasCode('resource.not_found'));
  await store.remove(mine, made.id);
  assert.deepEqual(await store.list(mine), []);
  await here.close();
  await there.close();
});

test('an override of what has no price gives it one, and a bad one is refused', async () => {
  const ws = await newWorkspace();
  const store = new OverrideStore(database, systemClock);
  await store.create(ws, { provider: 'my-llm', model: 'tiny', rates: { input: 0, output: 0 } });
  const prices = await openPrices(ports());
  const table = await prices.forWorkspace(ws);
  const price = table.find('my-llm', 'tiny', new Date(systemClock.now() + 1_000));
  assert.match(price?.version ?? '', /^override:prc_/);
  await prices.close();
  for (const rates of [{ input: -1 }, { input: 0.5 }])
    await assert.rejects(store.create(ws, { provider: 'p', model: 'm', rates }), hasCode('request.invalid'));
});

test('a newer file replaces the table of the release; an older or broken one does not', async () => {
  const ws = await newWorkspace();
  const file = join(folder, 'prices.json');
  const write = (date: string, input: unknown) =>
    writeFile(
      file,
      JSON.stringify({
        date,
        source: 'mine',
        providers: {
          openai: { models: [{ id: 'g', match: { equals: 'gpt-4.1-mini' }, prices: [{ rates: { input } }] }] },
        },
      }),
    );
  await write('2099-01-01', 5);
  const prices = await openPrices({ ...ports(), file });
  const input = async (): Promise<number | undefined> =>
    (await prices.forWorkspace(ws)).find('openai', 'gpt-4.1-mini', new Date())?.rates.input?.microUsdPerMTok;
  assert.equal(await input(), 5);
  for (const [date, price] of [
    ['2000-01-01', 6],
    ['2099-01-02', -6],
  ] as const) {
    await write(date, price);
    assert.equal((await prices.reload()).date, '2099-01-01');
    assert.equal(await input(), 5);
  }
  await write('2099-01-03', 7);
  assert.deepEqual(await prices.reload(), { date: '2099-01-03', source: 'mine' });
  assert.equal(await input(), 7);
  await rm(file);
  await prices.reload();
  assert.equal(await input(), 7);
  await prices.close();
});
