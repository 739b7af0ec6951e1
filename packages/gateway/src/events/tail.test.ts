import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ManualClock, silentLog, systemClock } from '@holdfast/core';
import { openIdentity } from '@holdfast/identity';
import type { AttemptMetric } from '../metrics/metrics.ts';
import { openTestDatabases } from '../test-database.ts';
import { until } from '../test-until.ts';
import { EventLog } from './event-log.ts';
import { Tail, type TailedItem } from './tail.ts';

let opened: Awaited<ReturnType<typeof openTestDatabases>>;
let workspaceId: string;

before(async () => {
  opened = await openTestDatabases(2);
  const database = opened.databases[0] ?? assert.fail();
  const identity = await openIdentity({ database, clock: systemClock, log: silentLog });
  workspaceId = (await identity.authenticate((await identity.issueOwnerKey('mine')).reveal())).workspaceId;
  await identity.close();
});

after(() => opened[Symbol.asyncDispose]());

const metricOf = (model: string, workspace = workspaceId): AttemptMetric => ({
  ...{ workspaceId: workspace, endpoint: 'chat.completions', route: null, provider: 'openai', model, outcome: 'ok' },
  ...{ usage: null, costMicroUsd: 5, latencyMs: 1.23456, firstTokenMs: null, runId: 'run-1' },
});

const openTail = (which: number, clock = systemClock) => {
  const database = opened.databases[which] ?? assert.fail();
  const events = new EventLog({ database, clock, log: silentLog });
  const tail = new Tail({ database, clock, log: silentLog, events });
  return { events, tail, close: async () => tail.close().then(() => events.close()) };
};

const follow = (tail: Tail, seen: TailedItem[], signal: AbortSignal): Promise<void> =>
  (async () => {
    for await (const item of tail.follow(workspaceId, 0, signal)) seen.push(item);
  })();

test('[R-events] attempts of another process are seen while somebody watches, those of other workspaces never', async () => {
  const [calls, watches] = [openTail(0), openTail(1)];
  const seen: TailedItem[] = [];
  const stop = new AbortController();
  const done = follow(watches.tail, seen, stop.signal);
  const models = (): string[] => seen.flatMap((item) => (item.kind === 'attempt' ? [item.attempt.model] : []));
  await until(() => {
    calls.tail.attempt(metricOf('first'));
    return models().length > 0;
  }, 'the other process knows that it is watched');
  calls.tail.attempt(metricOf('theirs', 'ws_of_others'));
  calls.tail.attempt(metricOf(`long ${'m'.repeat(5_000)}`));
  calls.events.publish({ workspaceId, type: 'kill.set', subject: 'x', data: {}, once: null });
  await until(() => models().some((model) => model.startsWith('long')), 'a long one arrives, shortened');
  await until(() => seen.some((item) => item.kind === 'event' && item.event.subject === 'x'), 'an event arrives');
  assert.ok(models().every((model) => model !== 'theirs' && model.length <= 128));
  stop.abort();
  await done;
  await calls.close();
  await watches.close();
});

test('[R-events] what comes faster than it can be shown is counted', async () => {
  const { tail, close } = openTail(0);
  const seen: TailedItem[] = [];
  const stop = new AbortController();
  const done = follow(tail, seen, stop.signal);
  for (let i = 0; i < 500; i += 1) tail.attempt(metricOf(`m${i}`));
  await until(() => seen.some(({ kind }) => kind === 'skipped'), 'the rest is counted');
  const shown = seen.filter(({ kind }) => kind === 'attempt').length;
  const skipped = seen.reduce((sum, item) => sum + (item.kind === 'skipped' ? item.attempts : 0), 0);
  assert.deepEqual([shown, skipped], [200, 300]);
  stop.abort();
  await done;
  await close();
});

test('[R-events] without anybody who watches nothing is told, and a follower ends with the gateway', async () => {
  const clock = new ManualClock();
  const { tail, events } = openTail(0, clock);
  const seen: TailedItem[] = [];
  const stop = new AbortController();
  const first = follow(tail, seen, stop.signal);
  stop.abort();
  await first;
  clock.advance(60_000);
  tail.attempt(metricOf('unseen'));
  clock.advance(1_000);
  const second = follow(tail, seen, new AbortController().signal);
  await tail.close();
  await second;
  assert.ok(seen.every(({ kind }) => kind === 'event'));
  await events.close();
});
