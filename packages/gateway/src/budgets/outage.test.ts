import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type LogFields, silentLog } from '@holdfast/core';
import { type Database, openDatabase } from '@holdfast/db';
import { sql } from 'kysely';
import { attemptId } from '../ledger/ledger.ts';
import { openTestDatabase } from '../test-database.ts';
import { until } from '../test-until.ts';
import type { GatewaySpending } from './gateway-spending.ts';
import { openSpending } from './open-spending.ts';
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
import { TestWire } from './test-wire.ts';

let database: Database;
let wire: TestWire;
let far: Database;
let dispose: () => Promise<void>;

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  wire = await TestWire.to(database);
  far = await openDatabase({ url: wire.url, patienceMs: 200 });
  dispose = async () => {
    await far.close();
    await wire.close();
    await opened[Symbol.asyncDispose]();
  };
});

after(() => dispose());

const impatient = { patienceMs: 300, recallMs: 50, farewellMs: 500 };
const openFar = (): Promise<GatewaySpending> => openSpending({ ...spendingPorts(far), limits: impatient });

test('[R-spending-fails-closed] without the database no call is admitted, with it they are again, and what ended meanwhile is kept', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 1_000_000 });
  const spending = await openFar();
  const facts = callOf(scopesOf(ws), 1_000);
  const hold = await spending.admit(facts);
  // The slice has plenty, and yet nothing may begin that cannot be written down.
  wire.cut();
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 1_000)), hasCode('budget.unavailable'));
  await assert.rejects(
    spending.admit(callOf(scopesOf(await newWorkspace(database)), 1_000)),
    hasCode('budget.unavailable'),
  );
  const settled = hold.settle([attemptOf(facts, 400)]);
  wire.mend();
  await settled;
  await (await spending.admit(callOf(scopesOf(ws), 1_000))).release();
  await spending.close();
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, { windows: [{ debited: 400, spent: 400, sliced: 0 }], holds: 0, attempts: 1, cost: 400 });
});

test('[R-spending-durable] an answer that is lost on the way changes nothing: writes are applied once, leases are straightened out', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 100_000 });
  const spending = await openFar();
  for (let round = 0; round < 5; round += 1) {
    const facts = callOf(scopesOf(ws), 1_000);
    const hold = await spending.admit(facts);
    wire.deafen();
    const settled = hold.settle([attemptOf(facts, 100)]);
    await until(async () => (await totalsOf(database, ws)).attempts === round + 1, 'the write has arrived');
    wire.mend();
    await settled;
    // More than any slice has: a lease is asked for.
    await (await spending.admit(callOf(scopesOf(ws), 100))).release();
    const { debited = 0 } = (await totalsOf(database, ws)).windows[0] ?? {};
    wire.deafen();
    await assert.rejects(spending.admit(callOf(scopesOf(ws), 60_000)), hasCode('budget.unavailable'));
    assert.ok(((await totalsOf(database, ws)).windows[0]?.debited ?? 0) > debited, 'the lease has arrived');
    wire.mend();
    const books = await totalsOf(database, ws);
    assert.equal(books.cost, 100 * (round + 1));
    assert.equal(books.windows[0]?.spent, 100 * (round + 1));
    // All that is left can be used: nothing was lost to the leases whose answers were.
    await (await spending.admit(callOf(scopesOf(ws), 100_000 - 100 * (round + 1)))).release();
  }
  await spending.close();
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, { windows: [{ debited: 500, spent: 500, sliced: 0 }], holds: 0, attempts: 5, cost: 500 });
});

test('[R-spending-durable] a process that was taken for dead goes on under another name, and charges nothing twice', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10_000 });
  const spending = await openSpending(spendingPorts(database));
  const calls = Array.from({ length: 4 }, () => callOf(scopesOf(ws), 1_000));
  const holds = await Promise.all(calls.map((call) => spending.admit(call)));
  const { rows } = await sql<{ id: string }>`
    select process_id as id from budget_holds where call_id = ${calls[0]?.callId}`.execute(database.kysely);
  const swept = await new SpendingStore(database).reclaim(rows[0]?.id ?? '', new Date(), true);
  assert.equal(swept, 4);
  // Four inputs of 100 each. The first attempt of each is there; a second one that succeeded is news, and is charged.
  await Promise.all(
    calls.map(async (call, i) => {
      const second = attemptOf(call, 7, { id: attemptId(call.callId, 2), attempt: 2 });
      await holds[i]?.settle(i === 0 ? [attemptOf(call, 500), second] : [attemptOf(call, 500)]);
    }),
  );
  const hold = await spending.admit(callOf(scopesOf(ws), 9_000));
  await assert.rejects(spending.admit(callOf(scopesOf(ws), 1_000)), hasCode('budget.exhausted'));
  await hold.release();
  await spending.close();
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, { windows: [{ debited: 407, spent: 407, sliced: 0 }], holds: 0, attempts: 5, cost: 407 });
});

test('a silent process elsewhere is swept after a while, one that is heard of is not', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10_000 });
  const store = new SpendingStore(database);
  await store.register({ id: 'gwp_elsewhere', place: 'another machine', pid: 1, born: '1' });
  const clock = new ShiftedClock();
  const spending = await openSpending({ ...spendingPorts(database), clock });
  const exists = async (): Promise<boolean> => (await store.processes()).rows.some(({ id }) => id === 'gwp_elsewhere');
  const age = (by: string) =>
    sql`update gateway_processes set seen_at = clock_timestamp() - ${by}::interval where id = 'gwp_elsewhere'`.execute(
      database.kysely,
    );
  await age('1 hour');
  await spending.tidy();
  assert.ok(await exists(), 'after an outage everybody is silent, so nobody is judged at once');
  clock.monotonicMs += 31_000;
  await age('29 seconds');
  await spending.tidy();
  assert.ok(await exists(), 'it was heard of 29 s ago');
  await age('31 seconds');
  await spending.tidy();
  assert.ok(!(await exists()));
  await spending.close();
});

test('[R-spending-fails-closed] a hold that nobody settles is charged its input when its time is over', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10_000 });
  await makeBudget(database, ws, { scope: 'key', period: 'total', unit: 'tokens', amount: 10_000 });
  const clock = new ShiftedClock();
  const spending = await openSpending({ ...spendingPorts(database), clock });
  const facts = callOf(scopesOf(ws), 1_000, { maxDurationMs: 60_000 });
  const hold = await spending.admit(facts);
  clock.monotonicMs += 59_000;
  await spending.tidy();
  assert.equal(spending.openHolds, 1);
  clock.monotonicMs += 2_000;
  await spending.tidy();
  assert.equal(spending.openHolds, 0);
  // Whoever comes late changes nothing.
  await hold.settle([attemptOf(facts, 999)]);
  await spending.close();
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, {
    windows: [
      { debited: 100, spent: 100, sliced: 0 },
      { debited: 10, spent: 10, sliced: 0 },
    ],
    holds: 0,
    attempts: 1,
    cost: 100,
  });
});

test('a row that the ledger cannot take does not hold up the others, and is counted all the same', async () => {
  const ws = await newWorkspace(database);
  await makeBudget(database, ws, { scope: 'workspace', period: 'total', amount: 10_000 });
  const errors: { message: string; fields: LogFields }[] = [];
  const log = {
    ...silentLog,
    error: (message: string, fields: LogFields = {}) => void errors.push({ message, fields }),
  };
  const spending = await openSpending({ ...spendingPorts(database), log });
  const calls = [1, 2, 3].map(() => callOf(scopesOf(ws), 1_000));
  const holds = await Promise.all(calls.map((call) => spending.admit(call)));
  await Promise.all(
    calls.map(async (call, i) => {
      await holds[i]?.settle([attemptOf(call, 50, i === 1 ? { attempt: 0 } : {})]);
    }),
  );
  assert.deepEqual(
    errors.map(({ message }) => message),
    ['rows of the ledger cannot be stored'],
  );
  await spending.close();
  const totals = await totalsOf(database, ws);
  assert.deepEqual(totals, { windows: [{ debited: 150, spent: 150, sliced: 0 }], holds: 0, attempts: 2, cost: 100 });
});
