import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Database } from '@holdfast/db';
import type { GatewayEvent } from '../events/event.ts';
import { openTestDatabase } from '../test-database.ts';
import { openSpending } from './open-spending.ts';
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

before(async () => {
  const opened = await openTestDatabase();
  database = opened.database;
  dispose = () => opened[Symbol.asyncDispose]();
});

after(() => dispose());

test('passing a threshold and running out publish one event each, with what tells them apart from others', async () => {
  const ws = await newWorkspace(database);
  const thresholds = [50, 80, 100];
  const hard = await makeBudget(database, ws, { scope: 'team', period: 'month', amount: 1_000, thresholds });
  const soft = await makeBudget(database, ws, {
    ...({ scope: 'workspace', period: 'total', amount: 100, hard: false } as const),
    thresholds: [100, 500],
  });
  const events: GatewayEvent[] = [];
  const sink = { publish: (event: GatewayEvent) => void events.push(event) };
  const spending = await openSpending({ ...spendingPorts(database), events: sink });
  const told = (): string[] =>
    events.splice(0).map(({ type, subject, data }) => `${type} ${subject} ${data.percent ?? ''}`);
  const spend = async (microUsd: number): Promise<void> => {
    const facts = callOf(scopesOf(ws), microUsd);
    await (await spending.admit(facts)).settle([attemptOf(facts, microUsd)]);
    await spending.tidy();
  };
  await spend(499);
  assert.deepEqual(told(), [`budget.threshold ${soft.id} 100`]);
  await spend(1);
  assert.deepEqual(told().toSorted(), [`budget.threshold ${hard.id} 50`, `budget.threshold ${soft.id} 500`].toSorted());
  await spend(10);
  assert.deepEqual(told(), []);
  await spend(490);
  assert.deepEqual(told(), [`budget.threshold ${hard.id} 80`, `budget.threshold ${hard.id} 100`]);
  for (const _ of [1, 2]) await assert.rejects(spending.admit(callOf(scopesOf(ws), 1)), hasCode('budget.exhausted'));
  const [exhausted, ...others] = events;
  assert.deepEqual([exhausted?.type, exhausted?.subject, others], ['budget.exhausted', hard.id, []]);
  assert.match(exhausted?.once ?? '', new RegExp(`^budget:${hard.id}:team_1:\\d+:exhausted$`));
  await spending.close();
  const { windows } = await totalsOf(database, ws);
  assert.deepEqual(windows, [
    { debited: 1_000, spent: 1_000, sliced: 0 },
    { debited: 1_000, spent: 1_000, sliced: 0 },
  ]);
});
