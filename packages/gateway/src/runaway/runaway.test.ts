import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, ManualClock, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { type Identity, openIdentity, type Principal } from '@holdfast/identity';
import type { GatewayEvent } from '../events/event.ts';
import { openTestDatabases } from '../test-database.ts';
import { until } from '../test-until.ts';
import { type OpenRunaway, openRunaway } from './open-runaway.ts';
import { noCaps, type RunCaps } from './run-caps.ts';
import type { RunawayCall, RunHold, RunScopes } from './runaway.ts';

let opened: Awaited<ReturnType<typeof openTestDatabases>>;
let first: Database;
let second: Database;
let identity: Identity;
let owner: Principal;
let stranger: Principal;
const open: OpenRunaway[] = [];
const events: GatewayEvent[] = [];

const start = async (database: Database, clock = systemClock): Promise<OpenRunaway> => {
  const sink = { publish: (event: GatewayEvent) => void events.push(event) };
  const runaway = await openRunaway({ database, clock, log: silentLog, events: sink });
  open.push(runaway);
  return runaway;
};

before(async () => {
  opened = await openTestDatabases(2);
  [first, second] = [opened.databases[0] ?? assert.fail(), opened.databases[1] ?? assert.fail()];
  identity = await openIdentity({ database: first, clock: systemClock, log: silentLog });
  owner = await identity.authenticate((await identity.issueOwnerKey('mine')).reveal());
  stranger = await identity.authenticate((await identity.issueOwnerKey('theirs', 'other')).reveal());
});

after(async () => {
  for (const one of open) await one.close();
  await identity.close();
  await opened[Symbol.asyncDispose]();
});

const scopesOf = (by: Principal, runId: string | null, agentId: string | null = null): RunScopes => ({
  workspaceId: by.workspaceId,
  keyId: by.keyId,
  agentId,
  runId,
});

const callOf = (scopes: RunScopes, more: Partial<RunawayCall> = {}): RunawayCall => ({
  ...{ scopes, format: 'openai-chat', step: null, worstCaseMicroUsd: 100n, worstCaseTokens: 10, inputTokens: 5 },
  body: { messages: [{ role: 'user', content: 'hello' }] },
  ...more,
});

const caps = (some: Partial<RunCaps>): RunCaps => ({ ...noCaps, ...some });

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
  );

test('[R-kill-switch] calls under way end at once in this and other processes, and no new one begins', async () => {
  const [here, there] = [await start(first), await start(second)];
  const subjects: readonly (readonly ['workspace' | 'key' | 'agent' | 'run', string, RunScopes])[] = [
    ['run', 'run-k', scopesOf(owner, 'run-k')],
    ['agent', 'agt_k', scopesOf(owner, 'run-x', 'agt_k')],
    ['key', owner.keyId, scopesOf(owner, null)],
    ['workspace', owner.workspaceId, scopesOf(owner, 'run-y')],
  ];
  for (const [subject, id, scopes] of subjects) {
    const aborted: string[] = [];
    const others: string[] = [];
    const offs = [here, there].flatMap((one, i) => [
      one.onKill(scopes, (error) => aborted.push(`${i} ${error.code}`)),
      one.onKill(scopesOf(stranger, scopes.runId, scopes.agentId), () => others.push('theirs')),
    ]);
    const set = await here.kills.set(owner, subject, id, 'it spends too much');
    // The other process may have heard of it before.
    assert.ok(aborted.includes('0 runaway.killed'), `${subject}: this process ends its call at once`);
    await until(() => aborted.length === 2, `${subject}: the other process ends its call`);
    for (const one of [here, there]) {
      assert.equal(await codeOf(one.check(callOf(scopes))), 'runaway.killed');
      assert.match(one.refusal(scopes)?.message ?? '', /it spends too much/);
      assert.equal(await codeOf(one.check(callOf(scopesOf(stranger, scopes.runId, scopes.agentId)))), 'done');
    }
    assert.deepEqual(others, [], 'another workspace is not concerned');
    await here.kills.lift(owner, set.id);
    assert.equal(await codeOf(here.check(callOf(scopes))), 'done');
    await until(() => there.refusal(scopes) === null, `${subject}: the other process lets calls begin again`);
    for (const off of offs) off();
  }
  assert.equal(events.filter((e) => e.type === 'kill.set').length, 4);
  assert.equal(events.filter((e) => e.type === 'kill.lifted').length, 4);
});

test('[R-kill-switch] a switch is in force after a restart, is listed, and is not another workspace’s to lift', async () => {
  const here = await start(first);
  const set = await here.kills.set(owner, 'run', 'run-r', '');
  assert.equal((await here.kills.set(owner, 'run', 'run-r', 'again')).id, set.id);
  const later = await start(second);
  assert.equal(await codeOf(later.check(callOf(scopesOf(owner, 'run-r')))), 'runaway.killed');
  assert.equal(await codeOf(later.kills.lift(stranger, set.id)), 'resource.not_found');
  assert.deepEqual(await later.kills.list(stranger, { lifted: true, limit: 10 }), []);
  assert.ok((await later.kills.list(owner, { lifted: false, limit: 10 })).some(({ id }) => id === set.id));
  await later.kills.lift(owner, set.id);
  assert.equal(await codeOf(later.kills.lift(owner, set.id)), 'resource.not_found');
});

test('[R-run-caps] exactly as many calls begin as the cap allows, from two processes at once', async () => {
  const [here, there] = [await start(first), await start(second)];
  await here.caps.put(owner, 'run', 'run-c', caps({ maxCalls: 10 }));
  await until(async () => (await there.caps.of(owner.workspaceId, null, 'run-c')).maxCalls === 10, 'caps are known');
  const tries = Array.from({ length: 80 }, (_, i) =>
    codeOf((i % 2 ? here : there).check(callOf(scopesOf(owner, 'run-c')))),
  );
  const codes = await Promise.all(tries);
  assert.equal(codes.filter((code) => code === 'done').length, 10);
  assert.equal(codes.filter((code) => code === 'runaway.cap_reached').length, 70);
  assert.equal((await here.totals.get(owner.workspaceId, 'run-c'))?.calls, 10);
});

test('[R-run-caps] dollars and tokens are reserved at their worst and given back, so that a cap is never passed', async () => {
  const here = await start(first);
  for (const [run, cap] of [
    ['run-usd', { maxMicroUsd: 1_000 }],
    ['run-tok', { maxTokens: 100 }],
  ] as const) {
    await here.caps.put(owner, 'run', run, caps(cap));
    const call = callOf(scopesOf(owner, run));
    const begun = await Promise.all(
      Array.from({ length: 30 }, () =>
        here.check(call).then(
          (hold): RunHold | null => hold,
          () => null,
        ),
      ),
    );
    const holds = begun.filter((hold) => hold !== null);
    assert.equal(holds.length, 10, run);
    // Each used half of what it held: five more fit, and never more than the cap in all.
    for (const hold of holds) await hold.settle({ microUsd: 50n, tokens: 5 });
    let more = 0;
    while ((await codeOf(here.check(call))) === 'done') more += 1;
    assert.equal(more, 5, run);
    const totals = await here.totals.get(owner.workspaceId, run);
    assert.deepEqual([totals?.microUsd, totals?.heldMicroUsd, totals?.tokens, totals?.heldTokens], [500, 500, 50, 50]);
  }
});

test('[R-run-caps] steps are counted once each, and calls without one by themselves', async () => {
  const here = await start(first);
  await here.caps.put(owner, 'run', 'run-s', caps({ maxSteps: 3 }));
  const at = (step: string | null) => codeOf(here.check(callOf(scopesOf(owner, 'run-s'), { step })));
  assert.deepEqual([await at('1'), await at('1'), await at('2'), await at('2'), await at(null)], Array(5).fill('done'));
  assert.equal(await at(null), 'runaway.cap_reached');
  assert.equal(await at('3'), 'runaway.cap_reached');
});

test('[R-run-caps] a cap of zero lets nothing begin, and a model without a price nothing under a cap on dollars', async () => {
  const here = await start(first);
  for (const cap of ['maxCalls', 'maxMicroUsd', 'maxTokens', 'maxSteps'] as const) {
    await here.caps.put(owner, 'run', `zero-${cap}`, caps({ [cap]: 0 }));
    assert.equal(await codeOf(here.check(callOf(scopesOf(owner, `zero-${cap}`)))), 'runaway.cap_reached', cap);
    assert.equal(await here.totals.get(owner.workspaceId, `zero-${cap}`), null);
  }
  await here.caps.put(owner, 'run', 'unpriced', caps({ maxMicroUsd: 1_000_000 }));
  const unpriced = callOf(scopesOf(owner, 'unpriced'), { worstCaseMicroUsd: null });
  assert.equal(await codeOf(here.check(unpriced)), 'runaway.cap_reached');
});

test('[R-run-caps] caps of the run come before those of its agent, and those before the workspace’s', async () => {
  const here = await start(first);
  await here.caps.put(stranger, 'workspace', '', caps({ maxCalls: 1, maxSteps: 100 }));
  await here.caps.put(stranger, 'agent', 'agt_1', caps({ maxCalls: 2 }));
  await here.caps.put(stranger, 'run', 'r2', caps({ maxCalls: 3 }));
  const count = async (run: string, agent: string | null): Promise<number> => {
    let done = 0;
    while ((await codeOf(here.check(callOf(scopesOf(stranger, run, agent))))) === 'done') done += 1;
    return done;
  };
  assert.equal(await count('r0', null), 1);
  assert.equal(await count('r1', 'agt_1'), 2);
  assert.equal(await count('r2', 'agt_1'), 3);
  assert.equal((await here.caps.of(stranger.workspaceId, 'agt_1', 'r2')).maxSteps, 100);
  assert.equal(await codeOf(here.check(callOf(scopesOf(stranger, null)))), 'done', 'caps are per run');
  for (const [subject, id] of [
    ['workspace', ''],
    ['agent', 'agt_1'],
    ['run', 'r2'],
  ] as const)
    await here.caps.remove(stranger, subject, id);
  assert.equal(await codeOf(here.caps.remove(stranger, 'run', 'r2')), 'resource.not_found');
  assert.equal(await codeOf(here.check(callOf(scopesOf(stranger, 'r0')))), 'done');
});

test('[R-run-caps] what a process that died held counts as used when its time is over', async () => {
  const clock = new ManualClock();
  const here = await start(first, clock);
  await here.caps.put(owner, 'run', 'run-d', caps({ maxMicroUsd: 1_000 }));
  const call = callOf(scopesOf(owner, 'run-d'));
  const hold = await here.check(call);
  assert.equal(await here.totals.sweep(), 0);
  clock.advance(7_200_000);
  await here.totals.sweep();
  await until(async () => (await here.totals.get(owner.workspaceId, 'run-d'))?.heldTokens === 0, 'the hold is over');
  await hold.settle({ microUsd: 1n, tokens: 1 });
  const totals = await here.totals.get(owner.workspaceId, 'run-d');
  assert.deepEqual([totals?.microUsd, totals?.heldMicroUsd, totals?.tokens, totals?.heldTokens], [100, 0, 10, 0]);
});

test('[R-runaway] repeated calls are refused at the limit, and told of without one', async () => {
  const here = await start(first);
  const turn = { role: 'assistant', tool_calls: [{ id: 'x', function: { name: 'ls', arguments: '{"path": "/"}' } }] };
  const body = (times: number) => ({ messages: Array.from({ length: times }, () => turn) });
  const before = events.length;
  const free = scopesOf(owner, 'run-loop');
  for (const times of [3, 10, 11]) assert.equal(await codeOf(here.check(callOf(free, { body: body(times) }))), 'done');
  const told = events.slice(before);
  assert.deepEqual(
    told.map(({ type, subject }) => [type, subject]),
    [['runaway.suspected', 'run-loop']],
  );
  await here.caps.put(owner, 'run', 'run-loop', caps({ maxRepeatedCalls: 4 }));
  assert.equal(await codeOf(here.check(callOf(free, { body: body(3) }))), 'done');
  assert.equal(await codeOf(here.check(callOf(free, { body: body(4) }))), 'runaway.repeated_call');
  assert.equal(events.at(-1)?.type, 'runaway.stopped');
});

test('[R-runaway] an input that grows without anything new is refused at the limit, a repeated request is not', async () => {
  const here = await start(first);
  await here.caps.put(owner, 'run', 'run-grow', caps({ maxUnchangedInputs: 3 }));
  const ask = (inputTokens: number, last: string) =>
    codeOf(
      here.check(
        callOf(scopesOf(owner, 'run-grow'), {
          inputTokens,
          body: {
            messages: [
              { role: 'user', content: `x${inputTokens}` },
              { role: 'assistant', content: last },
              { role: 'user', content: 'Try again.' },
            ],
          },
        }),
      ),
    );
  assert.equal(await ask(10, 'no'), 'done');
  for (let i = 0; i < 10; i += 1) assert.equal(await ask(10, 'no'), 'done', 'sent again');
  for (const tokens of [11, 12, 13]) assert.equal(await ask(tokens, 'no'), 'done');
  assert.equal(await ask(14, 'no'), 'runaway.unchanged_input');
  assert.equal(await ask(15, 'something new'), 'done');
});
