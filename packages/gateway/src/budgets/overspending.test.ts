import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Database } from '@holdfast/db';
import { openTestDatabase } from '../test-database.ts';
import type { BudgetInput } from './budget.ts';
import { Spender } from './test-spenders.ts';
import { makeBudget, newWorkspace, totalsOf } from './test-spending.ts';

const repetitions = process.env.HOLDFAST_TEST_ALL === '1' ? 50 : 5;
const microUsd = 100;

let database: Database;
let dispose: () => Promise<void>;
let spenders: Spender[];

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  spenders = await Promise.all([1, 2, 3, 4].map(() => Spender.start(database)));
  dispose = async () => {
    await Promise.all(spenders.map((spender) => spender.close()));
    await opened[Symbol.asyncDispose]();
  };
});

after(() => dispose());

/** One level that has exactly ten; or three, of which the middle one has. */
const levels: Readonly<Record<number, readonly BudgetInput[]>> = {
  1: [{ scope: 'workspace', period: 'month', amount: 10 * microUsd }],
  3: [
    { scope: 'workspace', period: 'month', amount: 1_000_000 },
    { scope: 'team', subjectId: 'team_1', period: 'total', amount: 11 * microUsd - 1 },
    { scope: 'key', period: 'day', timeZone: 'America/New_York', amount: 10 * microUsd + 1 },
  ],
};

for (const [depth, budgets] of Object.entries(levels))
  for (const processes of [1, 4])
    test(`[R-budget-never-overspent] 640 calls at once, ${depth} level(s), ${processes} process(es): 10 are admitted, ${repetitions} times`, async () => {
      const used = spenders.slice(0, processes);
      for (let i = 0; i < repetitions; i += 1) {
        const workspaceId = await newWorkspace(database);
        for (const budget of budgets) await makeBudget(database, workspaceId, budget);
        const calls = 640 / processes;
        const order = { workspaceId, calls, atOnce: calls, microUsd, costMicroUsd: null };
        const answers = await Promise.all(used.map((spender) => spender.spend(order)));
        const admitted = answers.reduce((sum, answer) => sum + answer.admitted, 0);
        const refused = answers.reduce((sum, answer) => sum + (answer.refused['budget.exhausted'] ?? 0), 0);
        assert.deepEqual([admitted, refused], [10, 630], `repetition ${i}: ${JSON.stringify(answers)}`);
        assert.equal((await totalsOf(database, workspaceId)).holds, 10);
        await Promise.all(used.map((spender) => spender.settle()));
        const totals = await totalsOf(database, workspaceId);
        assert.deepEqual([totals.holds, totals.attempts, totals.cost], [0, 10, 10 * microUsd]);
        for (const { spent } of totals.windows) assert.equal(spent, 10 * microUsd);
      }
    });

test('[R-budget-never-overspent] four processes that call in waves use a budget up to its last call', async () => {
  for (let i = 0; i < repetitions; i += 1) {
    const workspaceId = await newWorkspace(database);
    for (const scope of ['workspace', 'user', 'key'] as const)
      await makeBudget(database, workspaceId, { scope, period: 'total', amount: 400 * microUsd });
    const order = { workspaceId, calls: 150, atOnce: 7, microUsd, costMicroUsd: microUsd };
    const answers = await Promise.all(spenders.map((spender) => spender.spend(order)));
    const admitted = answers.reduce((sum, answer) => sum + answer.admitted, 0);
    assert.equal(admitted, 400, JSON.stringify(answers));
    const totals = await totalsOf(database, workspaceId);
    assert.deepEqual([totals.holds, totals.attempts, totals.cost], [0, 400, 400 * microUsd]);
    for (const { spent, debited } of totals.windows)
      assert.deepEqual([spent, debited], [400 * microUsd, 400 * microUsd]);
  }
});

test('[R-budget-never-overspent] calls that cost less than their worst case leave room for more, and never for too much', async () => {
  for (let i = 0; i < repetitions; i += 1) {
    const workspaceId = await newWorkspace(database);
    await makeBudget(database, workspaceId, { scope: 'workspace', period: 'total', amount: 2_000 });
    const order = { workspaceId, calls: 100, atOnce: 5, microUsd, costMicroUsd: 13 };
    const answers = await Promise.all(spenders.map((spender) => spender.spend(order)));
    const admitted = answers.reduce((sum, answer) => sum + answer.admitted, 0);
    const totals = await totalsOf(database, workspaceId);
    assert.deepEqual([totals.cost, totals.windows[0]?.spent], [admitted * 13, admitted * 13]);
    assert.ok(totals.cost <= 2_000, `${totals.cost} of 2000`);
    assert.ok(totals.cost > 1_000, `only ${totals.cost} of 2000 could be spent`);
  }
});
