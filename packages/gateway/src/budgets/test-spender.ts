/** A gateway process that only spends, driven by messages of its parent: `fork` it with the database's URL. */
import process, { argv } from 'node:process';
import { HoldfastError, Secret, silentLog, systemClock } from '@holdfast/core';
import { openDatabase } from '@holdfast/db';
import { attemptId } from '../ledger/ledger.ts';
import { openSpending } from './open-spending.ts';
import type { CallFacts, Hold } from './spending.ts';
import { attemptOf, callOf, scopesOf } from './test-spending.ts';

export interface SpendOrder {
  readonly workspaceId: string;
  readonly calls: number;
  /** Calls under way at once; the next begins when one was admitted or refused. */
  readonly atOnce: number;
  readonly microUsd: number;
  /** What each call that was admitted turns out to cost; null: it is held. */
  readonly costMicroUsd: number | null;
}

/** Calls without end, each told of when it is settled. */
export interface StreamOrder {
  readonly stream: true;
  readonly workspaceId: string;
  readonly atOnce: number;
  readonly microUsd: number;
}

export interface SettledCall {
  readonly settled: string;
  readonly costMicroUsd: number;
}

export interface SpendAnswer {
  readonly admitted: number;
  /** How many were refused, by code. */
  readonly refused: Readonly<Record<string, number>>;
}

const url = argv[2];
if (url === undefined || process.send === undefined) throw new Error('fork this with the URL of a database');
const database = await openDatabase({ url: new Secret(url), maxConnections: 4 });
const spending = await openSpending({ database, clock: systemClock, log: silentLog });
let held: { readonly facts: CallFacts; readonly hold: Hold }[] = [];

const spend = async (order: SpendOrder): Promise<SpendAnswer> => {
  const refused: Record<string, number> = {};
  let [admitted, left] = [0, order.calls];
  const next = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const facts = callOf(scopesOf(order.workspaceId), order.microUsd);
      try {
        const hold = await spending.admit(facts);
        admitted += 1;
        if (order.costMicroUsd === null) held.push({ facts, hold });
        else await hold.settle([attemptOf(facts, order.costMicroUsd)]);
      } catch (error) {
        const code = error instanceof HoldfastError ? error.code : String(error);
        refused[code] = (refused[code] ?? 0) + 1;
      }
    }
  };
  await Promise.all(Array.from({ length: order.atOnce }, next));
  return { admitted, refused };
};

const stream = async ({ workspaceId, microUsd }: StreamOrder): Promise<never> => {
  for (let i = 0; ; i += 1) {
    const facts = callOf(scopesOf(workspaceId), microUsd);
    const hold = await spending.admit(facts);
    const first = attemptOf(facts, 1 + (i % 7), { status: 500, errorClass: 'server_error' });
    if (i % 3 === 0) hold.record(first);
    const second = attemptOf(facts, 20 + (i % 11), { id: attemptId(facts.callId, 2), attempt: 2 });
    await hold.settle([first, second]);
    const told: SettledCall = { settled: facts.callId, costMicroUsd: 21 + (i % 7) + (i % 11) };
    process.send?.(told);
  }
};

process.on('message', (order: SpendOrder | StreamOrder | 'settle' | 'close') => {
  if (typeof order === 'object' && 'stream' in order) {
    for (let i = 0; i < order.atOnce; i += 1) void stream(order);
    return;
  }
  const answer = async (): Promise<unknown> => {
    if (order === 'settle') {
      await Promise.all(held.map(({ facts, hold }) => hold.settle([attemptOf(facts, Number(hold.reservedMicroUsd))])));
      held = [];
      await spending.flush();
      return {};
    }
    if (order === 'close') {
      await spending.close();
      await database.close();
      process.disconnect();
      return {};
    }
    return await spend(order);
  };
  void answer().then(
    (done) => process.connected && process.send?.(done),
    (error: unknown) => process.connected && process.send?.({ failed: String(error) }),
  );
});
process.send({ ready: true });
