import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, Secret } from '@holdfast/core';
import { sql } from 'kysely';
import type { Gateway } from '../gateway.ts';
import { modelRouteConfiguration } from '../routing/route-configuration.ts';
import { ask, chat, type Harness, openHarness, principal, question } from '../test-harness.ts';
import { sendsWhole } from '../test-provider.ts';
import { storedProvider } from './provider-configuration.ts';

let harness: Harness;
let gateway: Gateway;
let other: Gateway;

before(async () => {
  harness = await openHarness();
  await harness.database.kysely
    .insertInto('workspaces')
    .values({ id: 'ws_2', name: 'other', created_at: new Date() })
    .execute();
  gateway = await harness.open();
  other = await harness.open();
});
after(() => harness.close());

const stranger = { ...principal, workspaceId: 'ws_2', keyId: 'key_2' };
const provider = () =>
  storedProvider.parse({ name: 'mine', kind: 'openai', baseUrl: harness.first.baseUrl, models: ['gpt-4.1-mini'] });
const model = 'gpt-4.1-mini';
const codeIs = (code: string) => (error: unknown) => error instanceof HoldfastError && error.code === code;
const keySeen = (): string | undefined => harness.first.received.at(-1)?.headers.authorization;

test('[R-gateway-reload] a stored provider serves its workspace in every process at once, and nobody else', async () => {
  harness.first.will(sendsWhole(1));
  assert.equal((await ask(gateway, chat({ ...question, model }))).status, 404);
  assert.equal((await ask(other, chat({ ...question, model }))).status, 404);
  await gateway.store.putProvider(principal, provider(), { apiKey: new Secret('sk-stored-1') });
  for (const process of [gateway, other]) {
    for (let tries = 0; (await ask(process, chat({ ...question, model }))).status !== 200; tries += 1)
      assert.ok(tries < 200, 'it never appeared');
    assert.equal(keySeen(), 'Bearer sk-stored-1');
  }
  assert.equal((await ask(gateway, chat({ ...question, model }), stranger)).status, 404);
  assert.deepEqual(await gateway.store.listProviders('ws_2'), []);
});

test('[R-gateway-keys-sealed] its key is in no list and no column, and another takes its place', async () => {
  const listed = await gateway.store.listProviders('ws_1');
  assert.deepEqual([listed.length, listed[0]?.hasSecrets, listed[0]?.provider.name], [1, true, 'mine']);
  assert.doesNotMatch(JSON.stringify(listed), /sk-stored/);
  const rows = await sql<{ row: string }>`
    select to_jsonb(p)::text as row from gateway_providers p
    union all select to_jsonb(k)::text from gateway_provider_keys k
    union all select encode(k.sealed_secrets, 'escape') from gateway_provider_keys k
    union all select to_jsonb(a)::text from audit_log a`.execute(harness.database.kysely);
  assert.ok(rows.rows.length >= 4);
  for (const { row } of rows.rows) assert.doesNotMatch(row, /sk-stored/);
  harness.first.will(sendsWhole(1));
  await gateway.store.putProvider(principal, provider(), null);
  assert.equal((await ask(gateway, chat({ ...question, model }))).status, 200);
  assert.equal(keySeen(), 'Bearer sk-stored-1', 'without secrets those that are there stay');
  await gateway.store.putProvider(principal, provider(), { apiKey: new Secret('sk-stored-2') });
  for (let tries = 0; keySeen() !== 'Bearer sk-stored-2'; tries += 1) {
    assert.ok(tries < 200, 'the new key was never used');
    await ask(gateway, chat({ ...question, model }));
  }
});

test('[R-gateway-keys-sealed] a row that is moved to another workspace does not open there', async () => {
  const theirs = { ...provider(), name: 'theirs' };
  await gateway.store.putProvider(stranger, theirs, { apiKey: new Secret('sk-theirs') });
  const { kysely } = harness.database;
  const mine = await kysely
    .selectFrom('gateway_provider_keys')
    .select(['sealed_data_key', 'sealed_secrets'])
    .where('workspace_id', '=', 'ws_1')
    .executeTakeFirstOrThrow();
  await kysely.updateTable('gateway_provider_keys').set(mine).where('workspace_id', '=', 'ws_2').execute();
  const loaded = await gateway.parts.providers.load('ws_2');
  const [one] = loaded.providers;
  assert.ok(one?.kind === 'openai');
  assert.equal(one.apiKey, undefined);
});

test('[R-gateway-keys-sealed] rotation seals all keys anew, and calls go on', async () => {
  const { kysely } = harness.database;
  await kysely.deleteFrom('gateway_providers').where('workspace_id', '=', 'ws_2').execute();
  await kysely
    .updateTable('gateway_provider_keys')
    .set({ master_key_id: 'gone' })
    .where('workspace_id', '=', 'none')
    .execute();
  assert.equal(await gateway.store.rotateMasterKey(), 0, 'all are of the current key');
  assert.equal((await gateway.parts.providers.load('ws_1')).providers.length, 1);
});

test('routes of a workspace name providers that it sees, and hold them', async () => {
  const route = (provider: string) => modelRouteConfiguration.parse({ name: 'smart', targets: [{ provider, model }] });
  await assert.rejects(gateway.store.putRoute(principal, route('nobody')), codeIs('request.invalid'));
  await assert.rejects(gateway.store.putRoute(stranger, route('mine')), codeIs('request.invalid'));
  await gateway.store.putRoute(principal, route('mine'));
  assert.equal((await gateway.store.listRoutes('ws_1'))[0]?.route.name, 'smart');
  await assert.rejects(gateway.store.removeProvider(principal, 'mine'), codeIs('resource.conflict'));
  await assert.rejects(gateway.store.removeRoute(stranger, 'smart'), codeIs('resource.not_found'));
  await gateway.store.removeRoute(principal, 'smart');
  await gateway.store.removeProvider(principal, 'mine');
  await assert.rejects(gateway.store.removeProvider(principal, 'mine'), codeIs('resource.not_found'));
  assert.deepEqual(await gateway.store.listProviders('ws_1'), []);
});
