import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openTestDatabase } from '../test-database.ts';
import type { BudgetInput } from './budget.ts';
import { BudgetStore } from './budget-store.ts';
import type { GatewaySpending } from './gateway-spending.ts';
import { openSpending } from './open-spending.ts';
import type { Hold } from './spending.ts';
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

let database: Database;
let dispose: () => Promise<void>;
let spending: GatewaySpending;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  dispose = () => opened[Symbol.asyncDispose]();
  spending = await openSpending(spendingPorts(database));
});

after(async () => {
  await spending.close();
  await dispose();
});

/** Admits as many as asked, answers those that were and the codes of the others. */
const admitAll = async (
  calls: readonly ReturnType<typeof callOf>[],
): Promise<{ holds: Hold[]; codes: Record<string, number> }> => {
  const settled = await Promise.allSettled(calls.map((call) => spending.admit(call)));
  const codes: Record<string, number> = {};
  const holds: Hold[] = [];
  for (const one of settled) {
    if (one.status === 'fulfilled') holds.push(one.value);
    else {
      const code = one.reason instanceof HoldfastError ? one.reason.code : String(one.reason);
      codes[code] = (codes[code] ?? 0) + 1;
    }
  }
  return { holds, codes };
};

test('a call is reserved, settled at what it cost, and the rest is free again', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 1_000 });
  const facts = callOf(scopesOf(ws), 900);
  const hold = await spending.admit(facts);
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 900)), hasCode('budget.exhausted'));
  // What was fetched for the second call and is of no use goes back.
  await spending.flush();
  assert.deepEqual(await totalsOf(database, ws), {
    windows: [{ debited: 900, spent: 0, sliced: 900 }],
    holds: 1,
    attempts: 0,
    cost: 0,
  });
  await hold.settle([attemptOf(facts, 100)]);
  await (await spending.admit(callOf(scopesOf(ws), 900))).release();
  await spending.flush();
  assert.deepEqual(await totalsOf(database, ws), {
    windows: [{ debited: 100, spent: 100, sliced: 100 }],
    holds: 0,
    attempts: 1,
    cost: 100,
  });
});

test('of many calls at once exactly as many are admitted as the budget has', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'day', amount: 1_000 });
  await makeBudget(database, ws, { scope: 'team', period: 'month', timeZone: 'Europe/Berlin', amount: 1_099 });
  await makeBudget(database, ws, { scope: 'key', subjectId: 'key_1', period: 'total', amount: 5_000_000 });
  const { holds, codes } = await admitAll(Array.from({ length: 64 }, () => callOf(scopesOf(ws), 100)));
  assert.deepEqual([holds.length, codes], [10, { 'budget.exhausted': 54 }]);
  await Promise.all(holds.map((hold) => hold.release()));
  assert.equal((await admitAll(Array.from({ length: 64 }, () => callOf(scopesOf(ws), 100)))).holds.length, 10);
});

test('each of a scope has the amount for itself, and one of its own instead when there is one', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'run', period: 'total', amount: 200 });
  await makeBudget(database, ws, { scope: 'run', subjectId: 'run_big', period: 'total', amount: 300 });
  const of = (runId: string) => Array.from({ length: 5 }, () => callOf(scopesOf(ws, { runId }), 100));
  for (const [run, admitted] of [
    ['run_a', 2],
    ['run_b', 2],
    ['run_big', 3],
  ] as const)
    assert.equal((await admitAll(of(run))).holds.length, admitted, run);
  assert.equal((await admitAll(Array.from({ length: 5 }, () => callOf(scopesOf(ws), 100)))).holds.length, 5, 'no run');
});

test('a budget of an endpoint counts that endpoint only', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', endpoint: 'embeddings', period: 'total', amount: 100 });
  const at = (endpoint: string) => [1, 2, 3].map(() => callOf(scopesOf(ws, { endpoint }), 100));
  assert.equal((await admitAll(at('embeddings'))).holds.length, 1);
  assert.equal((await admitAll(at('chat.completions'))).holds.length, 3);
});

test('a model without a price is refused by a hard budget in dollars and by no other', async () => {
  const ws = await newWorkspace(database);
  const unpriced = { worstCaseMicroUsd: null, inputMicroUsd: 0n };
  const soft = await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10, hard: false });
  await (await spending.admit(callOf(scopesOf(ws), 1, unpriced))).release();
  assert.equal(soft.hard, false);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10 });
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 1, unpriced)), hasCode('budget.unpriced'));
});

test('amounts that are zero, negative or no integers are refused', async () => {
  const ws = await newWorkspace(database);
  const budget = { scope: 'workspace', period: 'total' } as const;
  for (const amount of [0, -1, 1.5, Number.NaN, 2 ** 53])
    await assert.rejects(makeBudget(database, ws, { ...budget, amount }), hasCode('request.invalid'), String(amount));
  const bad: BudgetInput[] = [
    { ...budget, amount: 1, timeZone: 'Mars/Olympus' },
    { ...budget, amount: 1, subjectId: 'x' },
    { ...budget, amount: 1, thresholds: [0] },
  ];
  for (const input of bad) await assert.rejects(makeBudget(database, ws, input), hasCode('request.invalid'));
  for (const over of [
    { worstCaseMicroUsd: -1n },
    { worstCaseMicroUsd: 2n ** 53n },
    { inputMicroUsd: -1n },
    { worstCaseTokens: -1 },
    { inputTokens: 0.5 },
  ])
    await assert.rejects(spending.admit(callOf(scopesOf(ws), 10, over)), hasCode('request.invalid'));
  const facts = callOf(scopesOf(ws), 10);
  const hold = await spending.admit(facts);
  await assert.rejects(hold.settle([attemptOf(facts, -1)]), hasCode('request.invalid'));
  await hold.settle([attemptOf(facts, 1)]);
  assert.equal((await totalsOf(database, ws)).cost, 1);
});

test('an attempt is charged once, however often it is recorded and settled', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10_000 });
  const facts = callOf(scopesOf(ws), 1_000);
  const hold = await spending.admit(facts);
  const failed = attemptOf(facts, 30, { status: 500, errorClass: 'server_error' });
  const second = attemptOf(facts, 200, { id: `${facts.callId}.2`, attempt: 2 });
  hold.record(failed);
  hold.record(failed);
  const done = hold.settle([failed, second, second]);
  await Promise.all([done, hold.settle([second]), hold.release()]);
  const totals = await totalsOf(database, ws);
  assert.deepEqual([totals.attempts, totals.cost, totals.windows[0]?.spent, totals.holds], [2, 230, 230, 0]);
});

test('a call that cost more than its worst case is charged in full, and nothing is admitted on the debt', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 1_000 });
  const facts = callOf(scopesOf(ws), 600);
  await (await spending.admit(facts)).settle([attemptOf(facts, 1_500)]);
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 1)), hasCode('budget.exhausted'));
  assert.deepEqual((await totalsOf(database, ws)).windows[0], { debited: 1_500, spent: 1_500, sliced: 1_500 });
});

test('a change of a budget counts from the next call on', async () => {
  const ws = await newWorkspace(database);
  await (await spending.admit(callOf(scopesOf(ws), 500))).release();
  const { id } = await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 100 });
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 500)), hasCode('budget.exhausted'));
  const store = new BudgetStore(database, systemClock);
  await store.change(ws, id, { amount: 1_000_000 });
  const many = await admitAll(Array.from({ length: 20 }, () => callOf(scopesOf(ws), 500)));
  assert.equal(many.holds.length, 20);
  // Slices were cut from the larger amount; they do not outlive it.
  await store.change(ws, id, { amount: 10_400 });
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 500)), hasCode('budget.exhausted'));
  await (await spending.admit(callOf(scopesOf(ws), 400))).release();
  await store.remove(ws, id);
  await (await spending.admit(callOf(scopesOf(ws), 5_000_000))).release();
});
