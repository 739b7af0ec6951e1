import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HoldfastError, ManualClock, silentLog } from '@holdfast/core';
import { type Database, openDatabase } from '@holdfast/db';
import { type Identity, mayUseModel, openIdentity, type Principal } from './index.ts';

let folder: string;
let database: Database;
let identity: Identity;
let owner: Principal;
let stranger: Principal;
const clock = new ManualClock();

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  await chmod(folder, 0o755);
  database = await openDatabase({ embedded: { folder: join(folder, 'data') } });
  identity = await openIdentity({ database, clock, log: silentLog });
  owner = await identity.authenticate((await identity.issueOwnerKey('mine')).reveal());
  stranger = await identity.authenticate((await identity.issueOwnerKey('theirs', 'other')).reveal());
});

after(async () => {
  await identity.close();
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
  );

test('[R-virtual-keys] a key tells which user, team, agent and run it is for', async () => {
  const team = await identity.teams.create(owner, 'research');
  const agent = await identity.agents.create(owner, { name: 'planner', team: 'research' });
  const user = await identity.users.create(owner, { name: 'ada', team: team.id });
  const bonds = {
    user: user.id,
    team: 'research',
    agent: 'planner',
    runId: 'nightly-7',
    modelRoutes: ['smart', 'gpt-*'],
  };
  const { key, text } = await identity.keys.create(owner, { name: 'bound', role: 'developer', ...bonds });
  assert.equal(key.teamId, team.id);
  assert.deepEqual(await identity.authenticate(text.reveal()), {
    workspaceId: owner.workspaceId,
    keyId: key.id,
    userId: user.id,
    role: 'developer',
    teamId: team.id,
    agentId: agent.id,
    runId: 'nightly-7',
    modelRoutes: ['smart', 'gpt-*'],
  });
});

test('[R-virtual-keys] a key without a team is of the team of its user, else of its agent', async () => {
  const ops = await identity.teams.create(owner, 'ops');
  const user = await identity.users.create(owner, { name: 'bob', team: 'ops' });
  await identity.agents.create(owner, { name: 'cleaner', team: 'ops' });
  const teamOf = async (input: { user?: string; agent?: string }) => {
    const { text } = await identity.keys.create(owner, { name: 'k', role: 'viewer', ...input });
    return (await identity.authenticate(text.reveal())).teamId;
  };
  assert.equal(await teamOf({ user: user.id }), ops.id);
  assert.equal(await teamOf({ agent: 'cleaner' }), ops.id);
  assert.equal(await teamOf({}), undefined);
});

test('[R-virtual-keys] a key stops working at its end, also when it was just used', async () => {
  const expiresAt = new Date(clock.now() + 1_000).toISOString();
  const { text } = await identity.keys.create(owner, { name: 'short', role: 'viewer', expiresAt });
  await identity.authenticate(text.reveal());
  clock.advance(999);
  await identity.authenticate(text.reveal());
  clock.advance(1);
  assert.equal(await codeOf(identity.authenticate(text.reveal())), 'auth.invalid');
  assert.equal(
    await codeOf(identity.keys.create(owner, { name: 'late', role: 'viewer', expiresAt })),
    'request.invalid',
  );
});

test('[R-isolation] a key cannot be bound to what belongs to another workspace', async () => {
  const team = await identity.teams.create(stranger, 'secret');
  const agent = await identity.agents.create(stranger, { name: 'spy' });
  const user = await identity.users.create(stranger, { name: 'eve' });
  const tries = [{ team: team.id }, { team: 'secret' }, { agent: agent.id }, { agent: 'spy' }, { user: user.id }];
  for (const bonds of tries)
    assert.equal(await codeOf(identity.keys.create(owner, { name: 'k', role: 'viewer', ...bonds })), 'request.invalid');
  assert.equal(await codeOf(identity.agents.create(owner, { name: 'x', team: team.id })), 'request.invalid');
  for (const list of [
    await identity.teams.list(owner),
    (await identity.agents.list(owner, { limit: 9, cursor: undefined })).items,
  ])
    assert.ok(list.every(({ id }) => id !== team.id && id !== agent.id));
});

test('names are taken once in a workspace, and what is named by others stays', async () => {
  await identity.teams.create(owner, 'kept');
  assert.equal(await codeOf(identity.teams.create(owner, 'kept')), 'resource.conflict');
  await identity.agents.create(owner, { name: 'keeper', team: 'kept' });
  assert.equal(await codeOf(identity.agents.create(owner, { name: 'keeper' })), 'resource.conflict');
  assert.equal(await codeOf(identity.teams.remove(owner, 'kept')), 'resource.conflict');
  await identity.agents.remove(owner, 'keeper');
  await identity.teams.remove(owner, 'kept');
  assert.equal(await codeOf(identity.teams.remove(owner, 'kept')), 'resource.not_found');
});

test('allowed models are names, or beginnings of names', () => {
  const allow = (modelRoutes: string[] | null, model: string) => mayUseModel({ ...owner, modelRoutes }, model);
  assert.ok(allow(null, 'anything'));
  assert.ok(allow(['smart', 'gpt-*'], 'gpt-4.1'));
  assert.ok(allow(['smart'], 'smart'));
  assert.ok(!allow(['smart'], 'smarter'));
  assert.ok(!allow([], 'smart'));
  assert.ok(mayUseModel(owner, 'anything'));
});
