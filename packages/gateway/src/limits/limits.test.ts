import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import type { GatewaySpending } from '../budgets/gateway-spending.ts';
import { openSpending } from '../budgets/open-spending.ts';
import {
  attemptOf,
  callOf,
  hasCode,
  makeBudget,
  newWorkspace,
  SetTime,
  ShiftedClock,
  scopesOf,
  spendingPorts,
  totalsOf,
} from '../budgets/test-spending.ts';
import { openTestDatabase } from '../test-database.ts';

let database: Database;
let dispose: () => Promise<void>;
let time: SetTime;
let clock: ShiftedClock;
let spending: GatewaySpending;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  time = new SetTime('2026-11-22T11:00:20Z');
  clock = new ShiftedClock();
  spending = await openSpending({ ...spendingPorts(database), clock, time });
  dispose = async () => {
    await spending.close();
    await opened[Symbol.asyncDispose]();
  };
});

after(() => dispose());

const refusal = async (call: Promise<unknown>): Promise<HoldfastError> => {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof HoldfastError, 'the call is refused');
  return error;
};

test('[R-limits-let-in] requests a minute: so many and no more, with the time to wait, and again in the next minute', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { unit: 'requests', scope: 'key', period: 'minute', amount: 3 });
  for (let minute = 0; minute < 3; minute += 1) {
    time.atMs = Date.parse('2026-11-22T11:00:20Z') + minute * 60_000;
    const calls = Array.from({ length: 10 }, () => spending.admit(callOf(scopesOf(ws), 1)));
    const settled = await Promise.allSettled(calls);
    const holds = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    assert.equal(holds.length, 3);
    const error = await refusal(spending.admit(callOf(scopesOf(ws), 1)));
    assert.deepEqual([error.code, error.details.retryAfterMs], ['limit.requests', 40_000]);
    assert.equal((await refusal(spending.admit(callOf(scopesOf(ws), 1)))).kind.status, 429);
    // A request that was never sent does not count.
    await holds[0]?.release();
    await (await spending.admit(callOf(scopesOf(ws), 1))).settle([]);
    const again = callOf(scopesOf(ws), 1);
    await (await spending.admit(again)).settle([attemptOf(again, 0, { status: 500, errorClass: 'server_error' })]);
    assert.equal((await refusal(spending.admit(callOf(scopesOf(ws), 1)))).code, 'limit.requests');
  }
});

test('[R-limits-let-in] tokens a minute: the first call is admitted however large, later ones by what is left', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { unit: 'tokens', scope: 'user', period: 'minute', amount: 1_000 });
  time.atMs = Date.parse('2026-11-22T12:00:59.500Z');
  const big = callOf(scopesOf(ws), 1, { worstCaseTokens: 50_000 });
  const hold = await spending.admit(big);
  const error = await refusal(spending.admit(callOf(scopesOf(ws), 1, { worstCaseTokens: 1 })));
  assert.deepEqual([error.code, error.details.retryAfterMs], ['limit.tokens', 500]);
  // It used 30 of them: the rest is there again.
  await hold.settle([attemptOf(big, 1)]);
  const fits = await spending.admit(callOf(scopesOf(ws), 1, { worstCaseTokens: 970 }));
  assert.equal((await refusal(spending.admit(callOf(scopesOf(ws), 1, { worstCaseTokens: 1 })))).code, 'limit.tokens');
  await fits.release();
  assert.equal((await refusal(spending.admit(callOf(scopesOf(ws), 1, { worstCaseTokens: 971 })))).code, 'limit.tokens');
  time.atMs += 500;
  await (await spending.admit(big)).release();
});

test('of many calls that are all too large for the limit one is admitted', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { unit: 'tokens', scope: 'workspace', period: 'minute', amount: 10 });
  const calls = Array.from({ length: 20 }, () => spending.admit(callOf(scopesOf(ws), 1, { worstCaseTokens: 100 })));
  const settled = await Promise.allSettled(calls);
  assert.equal(settled.filter((one) => one.status === 'fulfilled').length, 1);
});

test('clocks that jump: a window is as full as it was, whichever way time went', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'day', timeZone: 'Europe/Berlin', amount: 1_000 });
  const call = () => callOf(scopesOf(ws), 1_000);
  time.atMs = Date.parse('2026-10-25T12:00:00Z');
  const today = call();
  const hold = await spending.admit(today);
  for (const jumpMs of [86_400_000_000, -86_400_000_000]) {
    clock.wallMs = jumpMs;
    await assert.rejects(
      spending.admit(call()),
      hasCode('budget.exhausted'),
      'the clock of this machine decides nothing',
    );
  }
  clock.wallMs = 0;
  time.atMs += 86_400_000;
  const tomorrow = call();
  await (await spending.admit(tomorrow)).settle([attemptOf(tomorrow, 900)]);
  time.atMs -= 86_400_000;
  await assert.rejects(spending.admit(call()), hasCode('budget.exhausted'), 'back in the window of before');
  // Settled in the window that it was admitted in, whatever the time is now.
  time.atMs += 86_400_000;
  await hold.settle([attemptOf(today, 1_000)]);
  await assert.rejects(spending.admit(call()), hasCode('budget.exhausted'));
  const small = await spending.admit(callOf(scopesOf(ws), 100));
  await small.release();
  time.atMs -= 86_400_000;
  await spending.tidy();
  await spending.flush();
  const { windows } = await totalsOf(database, ws);
  assert.deepEqual(
    windows.map(({ spent, debited }) => [spent, debited]),
    [
      [1_000, 1_000],
      [900, 900],
    ],
  );
});

test('slices of windows that have ended come back, and those that nobody uses', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'minute', amount: 1_000_000 });
  await makeBudget(database, ws, { scope: 'user', period: 'total', amount: 1_000_000 });
  const facts = callOf(scopesOf(ws), 100);
  await (await spending.admit(facts)).settle([attemptOf(facts, 30)]);
  const before = await totalsOf(database, ws);
  for (const { debited } of before.windows) assert.ok(debited > 100, 'more than one call was leased');
  clock.monotonicMs += 3_000;
  time.atMs += 60_000;
  await spending.tidy();
  await spending.flush();
  const after = await totalsOf(database, ws);
  assert.deepEqual(after.windows, [
    { debited: 30, spent: 30, sliced: 0 },
    { debited: 30, spent: 30, sliced: 30 },
  ]);
  clock.monotonicMs += 61_000;
  await spending.tidy();
  await spending.flush();
  assert.deepEqual((await totalsOf(database, ws)).windows[1], { debited: 30, spent: 30, sliced: 0 });
  await sql`update budget_windows set prune_at = clock_timestamp() - interval '1 second'
    where workspace_id = ${ws} and ends_at is not null`.execute(database.kysely);
  await spending.tidy();
  assert.equal((await totalsOf(database, ws)).windows.length, 1, 'old windows are deleted');
});
