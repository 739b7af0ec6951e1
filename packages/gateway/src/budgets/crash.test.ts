import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { after, before, test } from 'node:test';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { attemptId } from '../ledger/ledger.ts';
import { openTestDatabase } from '../test-database.ts';
import { until } from '../test-until.ts';
import { openSpending } from './open-spending.ts';
import { rebuildBudgets } from './rebuild.ts';
import type { Hold } from './spending.ts';
import { Spender } from './test-spenders.ts';
import {
  attemptOf,
  callOf,
  hasCode,
  makeBudget,
  newWorkspace,
  scopesOf,
  spendingPorts,
  totalsOf,
} from './test-spending.ts';

const all = process.env.HOLDFAST_TEST_ALL === '1';

let database: Database;
let dispose: () => Promise<void>;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  dispose = () => opened[Symbol.asyncDispose]();
});

after(() => dispose());

/** Three levels with more than enough. */
const makeLevels = async (workspaceId: string): Promise<void> => {
  for (const scope of ['workspace', 'team', 'key'] as const)
    await makeBudget(database, workspaceId, { scope, period: 'month', amount: 1_000_000_000 });
};

/** Nothing is out any more, and every budget says what the ledger says. */
const assertAgreed = async (workspaceId: string): Promise<number> => {
  const { windows, holds, cost, attempts } = await totalsOf(database, workspaceId);
  assert.equal(holds, 0, 'no hold is left');
  assert.equal(windows.length, 3);
  for (const window of windows) assert.deepEqual(window, { debited: cost, spent: cost, sliced: 0 });
  const report = await rebuildBudgets(database, workspaceId);
  assert.deepEqual(report, { windows: 3, corrected: [] }, 'rebuilding from the ledger finds nothing to correct');
  return attempts;
};

const rowsOf = (workspaceId: string) =>
  database.kysely.selectFrom('model_attempts').selectAll().where('workspace_id', '=', workspaceId).execute();

test('[R-spending-durable] kill -9 of a gateway mid-stream: open calls are charged their input once, and nothing else', async () => {
  const workspaceId = await newWorkspace(database);
  await makeLevels(workspaceId);
  const spender = await Spender.start(database);
  await spender.spend({ workspaceId, calls: 5, atOnce: 5, microUsd: 1_000, costMicroUsd: 70 });
  await spender.spend({ workspaceId, calls: 12, atOnce: 12, microUsd: 1_000, costMicroUsd: null });
  assert.equal((await totalsOf(database, workspaceId)).holds, 12);
  await spender.kill();
  const [first, second] = await Promise.all([
    openSpending(spendingPorts(database)),
    openSpending(spendingPorts(database)),
  ]);
  await Promise.all([first.tidy(), second.tidy()]);
  await assertAgreed(workspaceId);
  const rows = await rowsOf(workspaceId);
  const swept = rows.filter((row) => row.error_class === 'abandoned');
  assert.deepEqual([rows.length, swept.length], [17, 12]);
  for (const row of swept) {
    assert.deepEqual([row.cost_micro_usd, row.input_tokens, row.usage_source, row.attempt], [100, 10, 'estimated', 1]);
    assert.equal(row.id, attemptId(row.call_id, 1));
  }
  await Promise.all([first.close(), second.close()]);
});

test('[R-spending-durable] kill -9 of gateways at any moment: what was settled is there once, what was open is not free', async () => {
  for (let round = 0; round < (all ? 25 : 4); round += 1) {
    const workspaceId = await newWorkspace(database);
    await makeLevels(workspaceId);
    const spenders = await Promise.all([Spender.start(database), Spender.start(database)]);
    const settled = new Map<string, number>();
    for (const spender of spenders)
      spender.stream({ workspaceId, atOnce: 8, microUsd: 500 }, (call) => settled.set(call.settled, call.costMicroUsd));
    await until(() => settled.size > 40 + round * 13, 'calls are settled');
    await Promise.all(spenders.map((spender) => spender.kill()));
    const spending = await openSpending(spendingPorts(database));
    await assertAgreed(workspaceId);
    const costs = new Map<string, number>();
    const ids = new Set<string>();
    for (const row of await rowsOf(workspaceId)) {
      costs.set(row.call_id, (costs.get(row.call_id) ?? 0) + (row.cost_micro_usd ?? 0));
      ids.add(row.id);
      if (row.error_class === 'abandoned') assert.ok(!settled.has(row.call_id), 'a settled call was swept');
    }
    for (const [callId, cost] of settled) assert.equal(costs.get(callId), cost, `call ${callId} of round ${round}`);
    for (const cost of costs.values()) assert.ok(cost > 0, 'no call is free');
    await spending.close();
  }
});

const postmaster = async (): Promise<number> => {
  const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(database.kysely);
  const stat = await readFile(`/proc/${rows[0]?.pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
};

test('[R-spending-durable] kill -9 of PostgreSQL while calls reserve and settle: all books agree when it is back', async () => {
  const workspaceId = await newWorkspace(database);
  await makeLevels(workspaceId);
  const gateways = await Promise.all([openSpending(spendingPorts(database)), openSpending(spendingPorts(database))]);
  let [running, admitted, refused, spent] = [true, 0, 0, 0];
  const call = async (index: number): Promise<void> => {
    const spending = gateways[index % 2];
    if (spending === undefined) throw new Error('there are two');
    while (running) {
      const facts = callOf(scopesOf(workspaceId), 900 + index);
      let hold: Hold;
      try {
        hold = await spending.admit(facts);
      } catch (error) {
        assert.ok(hasCode('budget.unavailable')(error), String(error));
        refused += 1;
        continue;
      }
      admitted += 1;
      spent += 10 + index;
      await hold.settle([attemptOf(facts, 10 + index)]);
    }
  };
  const calls = Array.from({ length: 12 }, (_, index) => call(index));
  for (let kill = 0; kill < (all ? 10 : 3); kill += 1) {
    const target = admitted + 60 + kill * 7;
    await until(() => admitted >= target, 'calls go through');
    process.kill(await postmaster(), 'SIGKILL');
  }
  const target = admitted + 60;
  await until(() => admitted >= target, 'calls go through again');
  running = false;
  await Promise.all(calls);
  await Promise.all(gateways.map((spending) => spending.close()));
  const attempts = await assertAgreed(workspaceId);
  const { cost } = await totalsOf(database, workspaceId);
  // A hold that was written while nobody waited for it any more is released, not charged.
  assert.deepEqual([attempts, cost], [admitted, spent], `${refused} calls were refused`);
});
