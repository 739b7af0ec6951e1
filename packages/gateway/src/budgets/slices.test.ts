import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Database } from '@holdfast/db';
import { openTestDatabase } from '../test-database.ts';
import { openSpending } from './open-spending.ts';
import { DatabaseTime } from './shared-time.ts';
import { SpendingStore } from './spending-store.ts';
import {
  attemptOf,
  callOf,
  hasCode,
  makeBudget,
  newWorkspace,
  ShiftedClock,
  scopesOf,
  spendingPorts,
  totalsOf,
} from './test-spending.ts';

let database: Database;
let dispose: () => Promise<void>;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  dispose = () => opened[Symbol.asyncDispose]();
});

after(() => dispose());

test('[R-budget-never-overspent] leases that come at the same time never cut the same amount twice', async () => {
  const store = new SpendingStore(database);
  const processes = Array.from({ length: 8 }, (_, i) => `gwp_racer${i}`);
  for (const id of processes) await store.register({ id, place: '', pid: 2_147_483_647, born: '' });
  for (let round = 0; round < 20; round += 1) {
    const ws = await newWorkspace(database);
    const budget = await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 20 });
    const request = { budget: budget.id, subject: '', starts: 0, ends: null, revision: budget.revision };
    const lease = async (id: string): Promise<number> => {
      const one = { ...request, need: 1, first: 1, least: 1, want: 8 };
      const [answer] = (await store.lease(id, [one])) ?? [];
      return answer?.granted ?? 0;
    };
    const before = await lease(processes[0] ?? '');
    const granted = await Promise.all([...processes, ...processes, ...processes, ...processes].map(lease));
    const sum = granted.reduce((total, one) => total + one, before);
    assert.equal(sum, 20, `round ${round}`);
    assert.deepEqual((await totalsOf(database, ws)).windows, [{ debited: 20, spent: 0, sliced: 20 }]);
  }
  for (const id of processes) await store.reclaim(id, new Date(), true);
});

test('[R-budget-never-overspent] what one process has in hand and does not use, another gets when it needs it', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'month', amount: 10_000 });
  const [first, second] = [await openSpending(spendingPorts(database)), await openSpending(spendingPorts(database))];
  const facts = callOf(scopesOf(ws), 100);
  await (await first.admit(facts)).settle([attemptOf(facts, 100)]);
  const { sliced = 0 } = (await totalsOf(database, ws)).windows[0] ?? {};
  assert.ok(sliced > 300, `the first has ${sliced} in hand`);
  const holds = await Promise.all(Array.from({ length: 99 }, () => second.admit(callOf(scopesOf(ws), 100))));
  await assert.rejects(second.admit(callOf(scopesOf(ws), 1)), hasCode('budget.exhausted'));
  await Promise.all(holds.map((hold) => hold.release()));
  await Promise.all([first.close(), second.close()]);
  assert.deepEqual((await totalsOf(database, ws)).windows, [{ debited: 100, spent: 100, sliced: 0 }]);
});

test('closing returns every slice, and charges the input of what is still open', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'month', amount: 1_000_000 });
  const spending = await openSpending(spendingPorts(database));
  const facts = callOf(scopesOf(ws), 1_000);
  await (await spending.admit(facts)).settle([attemptOf(facts, 300)]);
  const open = callOf(scopesOf(ws), 1_000);
  const hold = await spending.admit(open);
  await spending.close();
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 1)), hasCode('gateway.closed'));
  await assert.rejects(hold.settle([attemptOf(open, 1)]), hasCode('budget.unavailable'));
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, { windows: [{ debited: 400, spent: 400, sliced: 0 }], holds: 0, attempts: 2, cost: 400 });
});

test("the time that decides is the database's, whatever the clock of this machine says", () => {
  const clock = new ShiftedClock();
  const time = new DatabaseTime(clock, 1_000_000);
  const near = (ms: number): void => assert.ok(Math.abs(time.now() - ms) < 1_000, `${time.now()} is not about ${ms}`);
  near(1_000_000);
  clock.wallMs = 86_400_000;
  near(1_000_000);
  clock.monotonicMs += 60_000;
  near(1_060_000);
  const now = clock.monotonic();
  time.observe(5_000_000, now - 10, now + 10);
  near(5_000_000);
  time.observe(9_000_000, now - 60_000, now);
  near(5_000_000);
});
