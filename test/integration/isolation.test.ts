import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { allRoutes, type Route, type RouteName } from '@holdfast/contract';
import type { RunningServer } from '@holdfast/server';
import pg from 'pg';
import { fillWorkspace } from './setup/belongings.ts';
import { call } from './setup/call.ts';
import { type Belongings, inputsFor } from './setup/route-inputs.ts';
import { makeHome } from './setup/test-home.ts';
import { startOn, startTestServer, type TestServer } from './setup/test-server.ts';

/** Routes that name nothing by id: what they answer is checked one by one below. */
const unnamed = [
  'whoami',
  'createKey',
  'listKeys',
  'createTeam',
  'listTeams',
  'createAgent',
  'listAgents',
  'createUser',
  'listUsers',
  'createSandbox',
  'listSandboxes',
  'listTemplates',
  'chatCompletions',
  'responses',
  'embeddings',
  'imageGenerations',
  'imageEdits',
  'imageVariations',
  'audioSpeech',
  'audioTranscriptions',
  'audioTranslations',
  'messages',
  'countTokens',
  'geminiGenerate',
  'geminiStream',
  'geminiEmbed',
  'geminiBatchEmbed',
  'geminiGenerateV1',
  'geminiStreamV1',
  'geminiEmbedV1',
  'geminiBatchEmbedV1',
  'listModels',
  'listProviders',
  'putProvider',
  'listModelRoutes',
  'putModelRoute',
  'gatewayHealth',
  'importGateway',
  'createBudget',
  'listBudgets',
  'createPrice',
  'listPrices',
  'rotateMasterKey',
  'cacheStats',
  'purgeCache',
  'gatewayUsage',
  'listAttempts',
  'listRuns',
  'putCaps',
  'listCaps',
  'setKill',
  'listKills',
  'listGatewayEvents',
  'tailGateway',
  'createWebhook',
  'listWebhooks',
  'listTraces',
  'postSpans',
] as const satisfies readonly RouteName[];

const names = Object.keys(allRoutes).filter((name): name is RouteName => name in allRoutes);
const isUnnamed = (name: RouteName): boolean => unnamed.some((other) => other === name);

let server: TestServer;
let mine: Belongings;
let ownerKey: string;
let developerKey: string;
let viewerKey: string;
let foreignKey: string;

const prepare = async (first: RunningServer): Promise<void> => {
  const { identity } = first.layers;
  ownerKey = (await identity.issueOwnerKey('mine')).reveal();
  foreignKey = (await identity.issueOwnerKey('theirs', 'other')).reveal();
  const owner = await identity.authenticate(ownerKey);
  developerKey = (await identity.keys.create(owner, { name: 'dev', role: 'developer' })).text.reveal();
  viewerKey = (await identity.keys.create(owner, { name: 'view', role: 'viewer' })).text.reveal();
  mine = await fillWorkspace(first, ownerKey, 'mine-box');
};

before(async () => {
  const home = await makeHome();
  const first = await startOn(home);
  await prepare(first).finally(() => first.stop());
  server = await startTestServer(home);
});

after(() => server[Symbol.asyncDispose]());

/** Everything that is stored, but for when keys were used last and the signs of life of processes. */
const contentOfDatabase = async (): Promise<string> => {
  const client = new pg.Client({ connectionString: (await server.server.layers.database.url()).reveal() });
  await client.connect();
  try {
    const tables = await client.query<{ name: string }>(
      `select tablename as name from pg_tables where schemaname = 'public' order by 1`,
    );
    const content: Record<string, unknown> = {};
    for (const { name } of tables.rows) {
      const { rows } = await client.query(
        `select to_jsonb(t) - 'last_used_at' - 'seen_at' - 'last_write' as row from ${client.escapeIdentifier(name)} t order by 1`,
      );
      content[name] = rows;
    }
    return JSON.stringify(content, null, 1);
  } finally {
    await client.end();
  }
};

test('[R-isolation] a route either names something, or is checked by itself here', () => {
  for (const name of names) {
    const route: Route = allRoutes[name];
    // Gemini's paths name a model, which is nothing of a workspace.
    const namesThing = route.params !== undefined && !/^\/v1(beta)?\/models\//.test(route.path);
    assert.equal(!namesThing, isUnnamed(name), name);
  }
});

test('[R-isolation] what the tests try to reach is there for its own workspace', async () => {
  const inputs = inputsFor(mine);
  for (const name of ['getWorkspace', 'getSandbox', 'whySandbox', 'sandboxEvents', 'getTrace'] as const)
    assert.equal((await call(server.url, viewerKey, name, inputs[name])).status, 200, name);
  const { text } = await call(server.url, viewerKey, 'listKeys');
  assert.ok(text.includes(mine.keyId));
});

for (const name of names.filter((each) => !isUnnamed(each)))
  test(`[R-isolation] ${name}: another workspace's owner gets 404`, async () => {
    const before = await contentOfDatabase();
    const input = inputsFor(mine)[name];
    const answers = [await call(server.url, foreignKey, name, input)];
    if (input.params?.id === mine.sandboxId)
      answers.push(
        await call(server.url, foreignKey, name, { ...input, params: { ...input.params, id: mine.sandboxName } }),
      );
    for (const answer of answers) {
      assert.equal(answer.status, 404, `${answer.status} ${answer.text}`);
      assert.ok(answer.code === 'resource.not_found' || answer.code === 'trace.not_found', String(answer.code));
    }
    assert.equal(await contentOfDatabase(), before);
  });

test('[R-isolation] lists and answers about oneself show nothing of another workspace', async () => {
  for (const name of names.filter((each) => isUnnamed(each) && allRoutes[each].method === 'GET')) {
    const { status, text } = await call(server.url, foreignKey, name);
    assert.equal(status, 200, name);
    for (const [what, id] of Object.entries(mine)) assert.ok(!text.includes(id), `${name} shows ${what}`);
  }
});

test('[R-isolation] what a foreign key creates lands in its own workspace', async () => {
  const created = await call(server.url, foreignKey, 'createKey', { body: { name: 'theirs too', role: 'viewer' } });
  assert.equal(created.status, 201);
  const spans = await call(server.url, foreignKey, 'postSpans', inputsFor(mine).postSpans);
  assert.equal(spans.status, 202);
  await server.server.layers.observability.flush();
  const { text } = await call(server.url, ownerKey, 'getTrace', { params: { id: mine.traceId } });
  assert.ok(!text.includes('"more"'), 'a span was smuggled into a foreign trace');
  const { text: keys } = await call(server.url, ownerKey, 'listKeys');
  assert.ok(!keys.includes('theirs too'));
});

for (const name of names.filter((each) => allRoutes[each].role !== 'viewer'))
  test(`[R-viewer-reads-only] ${name}: a viewer's key is refused and changes nothing`, async () => {
    const before = await contentOfDatabase();
    const answer = await call(server.url, viewerKey, name, inputsFor(mine)[name]);
    assert.equal(answer.status, 403, answer.text);
    assert.equal(answer.code, 'auth.forbidden');
    assert.equal(await contentOfDatabase(), before);
  });

for (const name of names.filter((each) => allRoutes[each].role === 'viewer'))
  test(`[R-viewer-reads-only] ${name}: reads, and changes nothing`, async () => {
    const before = await contentOfDatabase();
    const answer = await call(server.url, viewerKey, name, inputsFor(mine)[name]);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(await contentOfDatabase(), before);
  });

for (const name of names.filter((each) => allRoutes[each].role === 'owner'))
  test(`[R-viewer-reads-only] ${name}: a developer's key is refused`, async () => {
    const answer = await call(server.url, developerKey, name, inputsFor(mine)[name]);
    assert.equal(answer.code, 'auth.forbidden');
  });

for (const name of names)
  test(`[R-closed-by-default] ${name}: no key and a wrong key are refused`, async () => {
    const input = inputsFor(mine)[name];
    const none = await call(server.url, null, name, input);
    assert.deepEqual([none.status, none.code], [401, 'auth.missing']);
    const wrong = await call(server.url, `${ownerKey.slice(0, -4)}0000`, name, input);
    assert.deepEqual([wrong.status, wrong.code], [401, 'auth.invalid']);
  });
