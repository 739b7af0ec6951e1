import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { modelList, type TailItem } from '@holdfast/contract';
import { type Client, createClient, HoldfastError } from '@holdfast/sdk';
import pg from 'pg';
import { eventually } from './setup/eventually.ts';
import { ModelProvider } from './setup/model-provider.ts';
import { makeHome } from './setup/test-home.ts';
import { startTestServer, type TestServer } from './setup/test-server.ts';

let server: TestServer;
let provider: ModelProvider;
let owner: Client;

const secret = 'sk-secret-of-the-provider';

const priceOf = (id: string, input: number, output: number) => ({
  ...{ id, match: { equals: id }, contextTokens: 128_000 },
  prices: [{ rates: { input, output } }],
});

/** What a release from the future would say. */
const newerPrices = {
  ...{ date: '2099-01-01', source: 'a test' },
  providers: {
    openai: {
      models: [priceOf('gpt-4.1-mini', 2_000_000, 8_000_000), priceOf('text-embedding-3-small', 20_000, 0)],
    },
  },
};

before(async () => {
  provider = await new ModelProvider().listen();
  const home = await makeHome();
  const pricesFile = join(home.path, 'prices.json');
  await writeFile(pricesFile, JSON.stringify(newerPrices));
  const config = JSON.parse(await readFile(join(home.path, 'config.json'), 'utf8'));
  const more = { webhookAddresses: ['127.0.0.0/8'], pricesFile };
  await writeFile(join(home.path, 'config.json'), JSON.stringify({ ...config, ...more }));
  server = await startTestServer(home);
  owner = createClient({ url: server.url, apiKey: server.ownerKey });
  const models = ['gpt-4.1-mini', 'text-embedding-3-small'];
  const body = {
    kind: 'openai-compatible' as const,
    baseUrl: provider.baseUrl,
    apiKey: secret,
    models,
    prices: 'openai',
  };
  await owner.putProvider({ body: { name: 'test', ...body } });
  const targets = [{ provider: 'test', model: 'gpt-4.1-mini' }];
  await owner.putModelRoute({ body: { name: 'smart', targets } });
  const semantic = { embeddingModel: 'text-embedding-3-small', threshold: 0.9 };
  await owner.putModelRoute({ body: { name: 'cached', targets, cache: { exactTtlSeconds: 60, semantic } } });
});

after(async () => {
  await server[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

interface Asked {
  readonly key?: string;
  readonly model?: string;
  readonly stream?: boolean;
  readonly say?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const ask = ({ key = server.ownerKey, model = 'smart', stream = false, say = 'hello', headers = {} }: Asked = {}) =>
  fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model, stream, max_tokens: 50, messages: [{ role: 'user', content: say }] }),
  });

const codeIn = (body: string): string => /"code":"([a-z_.]+)"/.exec(body)?.[1] ?? body;

const refusal = async (asked: Asked): Promise<readonly [number, string]> => {
  const response = await ask(asked);
  return [response.status, codeIn(await response.text())];
};

const keyFor = async (body: Parameters<Client['createKey']>[0]['body']): Promise<string> =>
  (await owner.createKey({ body })).key;

test('a provider and a route made over the API answer calls, and the secret is nowhere to be read', async () => {
  const response = await ask();
  assert.equal(response.status, 200, await response.clone().text());
  assert.equal(provider.received.at(-1)?.authorization, `Bearer ${secret}`);
  const { items } = await owner.listProviders();
  assert.deepEqual(
    items.filter(({ origin }) => origin === 'workspace').map(({ name, hasSecrets }) => [name, hasSecrets]),
    [['test', true]],
  );
  const client = new pg.Client({ connectionString: (await server.server.layers.database.url()).reveal() });
  await client.connect();
  for (const table of ['gateway_providers', 'gateway_provider_keys', 'audit_log', 'gateway_events'])
    assert.ok(!JSON.stringify((await client.query(`select to_jsonb(t) from ${table} t`)).rows).includes(secret), table);
  await client.end();
  await assert.rejects(owner.removeProvider({ params: { name: 'test' } }), { code: 'resource.conflict' });
  const strange = { name: 'x', kind: 'openai-compatible' as const, baseUrl: 'ftp://x' };
  await assert.rejects(owner.putProvider({ body: strange }), { code: 'request.invalid' });
  const targets = [{ provider: 'nobody', model: 'x' }];
  await assert.rejects(owner.putModelRoute({ body: { name: 'x', targets } }), { code: 'request.invalid' });
});

test('[R-virtual-keys] a key asks only for its models, and what it is bound to is in the ledger whatever headers say', async () => {
  const team = await owner.createTeam({ body: { name: 'research' } });
  const agent = await owner.createAgent({ body: { name: 'planner', team: 'research' } });
  const key = await keyFor({ name: 'bound', agent: 'planner', runId: 'run-bound', modelRoutes: ['smart'] });
  assert.equal((await ask({ key, headers: { 'holdfast-run': 'another', 'holdfast-agent': 'another' } })).status, 200);
  assert.deepEqual(await refusal({ key, model: 'cached' }), [403, 'gateway.model_not_allowed']);
  assert.deepEqual(await refusal({ key, model: 'gpt-4.1-mini' }), [403, 'gateway.model_not_allowed']);
  const rows = async () => (await owner.listAttempts({ query: { run: 'run-bound' } })).items;
  await eventually(async () => (await rows()).length === 1, 'the ledger has the call');
  const [row] = await rows();
  assert.deepEqual([row?.teamId, row?.agentId, row?.runId, row?.outputTokens], [team.id, agent.id, 'run-bound', 4]);
  const models = await fetch(`${server.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  assert.deepEqual(
    modelList.parse(await models.json()).data.map(({ id }) => id),
    ['smart'],
  );
  const { items } = await owner.gatewayUsage({ query: { by: ['agent', 'model'] } });
  const own = items.find(({ group }) => group['agent'] === agent.id);
  assert.deepEqual([own?.calls, own?.outputTokens, own?.group['model']], [1, 4, 'gpt-4.1-mini']);
  // 11 tokens in and 4 out, at what the newer file of prices says.
  assert.equal(own?.costMicroUsd, 11 * 2 + 4 * 8);
  const today = new Intl.DateTimeFormat('sv', { timeZone: 'Pacific/Kiritimati' }).format(new Date());
  const days = await owner.gatewayUsage({ query: { by: ['day'], timeZone: 'Pacific/Kiritimati' } });
  assert.ok(days.items.some(({ group }) => group['day'] === today));
  for (const timeZone of ['Nowhere/Else', "UTC'; select 1 --"])
    await assert.rejects(owner.gatewayUsage({ query: { by: ['day'], timeZone } }), { code: 'request.invalid' });
  const page = await owner.listAttempts({ query: { limit: 1 } });
  assert.ok(page.cursor !== null);
  const next = await owner.listAttempts({ query: { limit: 1, cursor: page.cursor } });
  assert.notEqual(next.items[0]?.id, page.items[0]?.id);
});

test('[R-cache-scoped] answers and streams come from the cache when the route says so, labelled, and never across workspaces', async () => {
  const before = provider.received.length;
  const first = await (await ask({ model: 'cached', say: 'where is my parcel' })).text();
  const parcel = { model: 'cached', say: 'where is my parcel' };
  await eventually(
    async () => /kind=exact/.test((await ask(parcel)).headers.get('holdfast-cache') ?? ''),
    'it is kept',
  );
  const second = await ask(parcel);
  assert.equal(await second.text(), first);
  const near = await ask({ model: 'cached', say: 'where is my parcel?' });
  assert.match(near.headers.get('holdfast-cache') ?? '', /^hit; kind=semantic; similarity=0\.9/);
  assert.equal(await near.text(), first);
  const calls = provider.received.slice(before).map(({ path }) => path);
  assert.ok(
    calls.some((path) => path.endsWith('/embeddings')),
    'embedded through the gateway itself',
  );
  assert.equal(
    (await ask({ model: 'cached', say: 'where is my parcel', headers: { 'holdfast-cache': 'off' } })).headers.get(
      'holdfast-cache',
    ),
    null,
  );
  const stream = { model: 'cached', stream: true, say: 'tell me a story' };
  const streamed = await (await ask(stream)).text();
  // The caller has the end of a stream before the cache has all of it.
  await eventually(
    async () => /kind=exact/.test((await ask(stream)).headers.get('holdfast-cache') ?? ''),
    'it is kept',
  );
  const again = await ask(stream);
  assert.match(again.headers.get('content-type') ?? '', /text\/event-stream/);
  assert.equal(await again.text(), streamed);
  assert.match(streamed, /\[DONE\]/);
  const { removed } = await owner.purgeCache({ query: { model: 'cached' } });
  assert.equal(removed, 2);
  assert.equal((await ask(stream)).headers.get('holdfast-cache'), 'miss');
  assert.equal((await refusal({ headers: { 'holdfast-cache': 'maybe' } }))[1], 'request.invalid');
});

test('[R-idempotency] a request that is sent again while it runs gets 409, and afterwards its answer', async () => {
  const headers = { 'idempotency-key': 'order-1' };
  const before = provider.received.length;
  provider.hold();
  const first = ask({ headers });
  await eventually(() => provider.received.length === before + 1, 'the first one is under way');
  assert.deepEqual(await refusal({ headers }), [409, 'gateway.idempotency_running']);
  provider.release();
  const answer = await (await first).text();
  await eventually(async () => (await ask({ headers })).headers.get('holdfast-replayed') === 'true', 'it is replayed');
  assert.equal(await (await ask({ headers })).text(), answer);
  assert.equal(provider.received.length, before + 1);
  assert.deepEqual(await refusal({ headers, say: 'something else' }), [422, 'gateway.idempotency_mismatch']);
});

test('[R-kill-switch] a stream under way ends with an error when its run is killed, and the provider is let go', async () => {
  provider.hold();
  const headers = { 'holdfast-run': 'run-kill' };
  const before = provider.received.length;
  const stream = await ask({ stream: true, headers });
  const other = ask({ stream: true, headers: { 'holdfast-run': 'run-lives' } });
  const body = stream.text();
  await eventually(() => provider.received.length === before + 2, 'both streams are under way');
  const killed = await owner.setKill({ body: { subject: 'run', subjectId: 'run-kill', reason: 'a test' } });
  assert.equal(codeIn(await body), 'runaway.killed');
  await provider.received[before]?.closed;
  assert.deepEqual(await refusal({ headers }), [403, 'runaway.killed']);
  provider.release();
  assert.match(await (await other).text(), /\[DONE\]/);
  await owner.liftKill({ params: { id: killed.id } });
  assert.equal((await ask({ headers })).status, 200);
  await assert.rejects(owner.setKill({ body: { subject: 'key', subjectId: 'key_that_is_not' } }), {
    code: 'request.invalid',
  });
});

test('[R-run-caps] a run is stopped at its caps, and no other is', async () => {
  const headers = { 'holdfast-run': 'run-capped' };
  await owner.putCaps({ body: { subject: 'run', subjectId: 'run-capped', maxCalls: 2 } });
  const statuses = await Promise.all(Array.from({ length: 6 }, async () => (await ask({ headers })).status));
  assert.deepEqual(
    statuses.toSorted((a, b) => a - b),
    [200, 200, 403, 403, 403, 403],
  );
  assert.equal((await ask({ headers: { 'holdfast-run': 'run-free' } })).status, 200);
  const { items } = await owner.listRuns();
  const run = items.find(({ runId }) => runId === 'run-capped');
  await eventually(
    async () => (await owner.listRuns()).items.every(({ heldTokens }) => heldTokens === 0),
    'nothing is held',
  );
  assert.equal(run?.calls, 2);
  await owner.putCaps({ body: { subject: 'run', subjectId: 'run-usd', maxMicroUsd: 1 } });
  assert.deepEqual(await refusal({ headers: { 'holdfast-run': 'run-usd' } }), [403, 'runaway.cap_reached']);
  await owner.removeCaps({ params: { subject: 'run', id: 'run-capped' } });
  assert.equal((await ask({ headers })).status, 200);
});

test('[R-events] whoever watches sees attempts and events as they come', async () => {
  const seen: TailItem[] = [];
  const stop = new AbortController();
  const items = await owner.tailGateway({ query: { last: 1, follow: true } }, { signal: stop.signal });
  const watching = (async () => {
    for await (const item of items) seen.push(item);
  })().catch((error: unknown) => assert.ok(stop.signal.aborted, String(error)));
  await eventually(async () => {
    await (await ask({ headers: { 'holdfast-run': 'run-seen' } })).text();
    return seen.some((item) => item.kind === 'attempt' && item.attempt.runId === 'run-seen');
  }, 'an attempt is seen');
  const attempt = seen.flatMap((item) => (item.kind === 'attempt' ? [item.attempt] : []))[0];
  assert.deepEqual(
    [attempt?.route, attempt?.model, attempt?.outcome, attempt?.outputTokens],
    ['smart', 'gpt-4.1-mini', 'ok', 4],
  );
  const budget = await owner.createBudget({ body: { period: 'month', amount: 1_000_000_000 } });
  await eventually(
    () =>
      seen.some(
        (item) => item.kind === 'event' && item.event.type === 'budget.changed' && item.event.subject === budget.id,
      ),
    'an event is seen',
  );
  stop.abort();
  await watching;
  await owner.removeBudget({ params: { id: budget.id } });
});

test('[R-webhooks] a budget that passes its threshold is told of over HTTP', async () => {
  const told: string[] = [];
  const receiver = createServer(async (request, response) => {
    told.push(await text(request));
    response.end();
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const address = receiver.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/`;
  const hook = await owner.createWebhook({ body: { url, types: ['budget.threshold'] } });
  assert.match(hook.secret, /^whsec_/);
  const body = {
    scope: 'run' as const,
    subjectId: 'run-budget',
    period: 'total' as const,
    amount: 100_000,
    thresholds: [1],
  };
  const budget = await owner.createBudget({ body: { ...body, unit: 'tokens' } });
  const tight = await owner.createBudget({ body: { ...body, amount: 300_000 } });
  const headers = { 'holdfast-run': 'run-budget' };
  await eventually(async () => {
    await (await ask({ headers })).text();
    return told.length > 0;
  }, 'the webhook is called');
  const [event] = told.map((one) => JSON.parse(one));
  assert.equal(event.type, 'budget.threshold');
  assert.ok([budget.id, tight.id].includes(event.subject));
  assert.equal(event.data.percent, 1);
  const { items } = await owner.listBudgets();
  const uses = items.find(({ id }) => id === budget.id)?.uses ?? [];
  assert.ok(uses.some(({ spent }) => spent > 0));
  for (const { id } of [budget, tight]) await owner.removeBudget({ params: { id } });
  await owner.removeWebhook({ params: { id: hook.id } });
  receiver.closeAllConnections();
  receiver.close();
});

test('a file of LiteLLM becomes providers and routes that answer', async () => {
  const file = `
model_list:
  - model_name: imported
    litellm_params:
      model: openai/gpt-4.1-mini
      api_base: ${provider.baseUrl}
      api_key: os.environ/TEST_KEY
      rpm: 10
  - model_name: imported
    litellm_params: { model: anthropic/claude-sonnet-4-5, api_key: sk-ant, order: 1 }
  - model_name: odd
    litellm_params: { model: sagemaker/x }
router_settings: { routing_strategy: simple-shuffle, num_retries: 2 }
general_settings: { master_key: sk-1234 }
`;
  const variables = { TEST_KEY: 'sk-imported' };
  await assert.rejects(owner.importGateway({ body: { text: file } }), (error) => {
    assert.ok(error instanceof HoldfastError);
    assert.deepEqual(error.details['variables'], ['TEST_KEY']);
    return true;
  });
  const dry = await owner.importGateway({ body: { text: file, variables, dryRun: true } });
  assert.deepEqual(dry, {
    providers: ['openai', 'anthropic'],
    routes: ['imported'],
    ignored: ['general_settings', 'model_list.2 (odd: sagemaker/x)'],
  });
  assert.ok((await owner.listModelRoutes()).items.every(({ name }) => name !== 'imported'));
  await owner.importGateway({ body: { text: file, variables } });
  assert.equal((await ask({ model: 'imported' })).status, 200);
  assert.equal(provider.received.at(-1)?.authorization, 'Bearer sk-imported');
  const bombs = ['a: [', `a: &a [x]\n${'b: *a\n'.repeat(3)}`, '[1', `model_list: ${'['.repeat(5_000)}`];
  const aliases = `a: &a [1,1,1,1,1,1,1,1,1]\n${['b', 'c', 'd', 'e', 'f', 'g'].map((n, i) => `${n}: &${n} [${`*${'abcdef'[i]},`.repeat(9)}1]`).join('\n')}`;
  for (const bomb of [...bombs, aliases, 'model_list: 5', 'providers: {}'])
    await assert.rejects(owner.importGateway({ body: { text: bomb } }), { code: 'request.invalid' }, bomb.slice(0, 40));
});

test('a model without a price is refused under a hard budget until the workspace sets one', async () => {
  await owner.putModelRoute({ body: { name: 'tuned', targets: [{ provider: 'test', model: 'our-finetune' }] } });
  const budget = await owner.createBudget({
    body: { scope: 'run', subjectId: 'run-tuned', period: 'total', amount: 1_000_000 },
  });
  const asked = { model: 'tuned', headers: { 'holdfast-run': 'run-tuned' } };
  assert.equal((await refusal(asked))[1], 'budget.unpriced');
  const rates = { input: 1_000_000, output: 2_000_000 };
  const price = await owner.createPrice({
    body: { provider: 'openai', model: 'our-finetune', rates, contextTokens: 8_000 },
  });
  await eventually(async () => (await ask(asked)).status === 200, 'the price is known');
  const { items } = await owner.listPrices();
  assert.deepEqual(items, [price]);
  await owner.removePrice({ params: { id: price.id } });
  await owner.removeBudget({ params: { id: budget.id } });
});

test('[R-secrets-stay-secret] after a new master key all stored secrets open, and only the operator makes one', async () => {
  const hook = await owner.createWebhook({ body: { url: 'https://example.com/hook', types: ['webhook.test'] } });
  const sealed = async () => {
    const { kysely } = server.server.layers.database;
    const keys = await kysely.selectFrom('gateway_provider_keys').select('master_key_id').execute();
    const hooks = await kysely.selectFrom('webhooks').select('sealed_secret').execute();
    return new Set([
      ...keys.map((row) => row.master_key_id),
      ...hooks.map((row) => row.sealed_secret.split('.')[1] ?? ''),
    ]);
  };
  const before = await sealed();
  const { resealed } = await owner.rotateMasterKey();
  assert.ok(resealed >= 2);
  const after = await sealed();
  assert.deepEqual([before.size, after.size], [1, 1]);
  assert.notDeepEqual(after, before);
  assert.equal((await ask()).status, 200);
  assert.equal(provider.received.at(-1)?.authorization, `Bearer ${secret}`);
  const foreign = (await server.server.layers.identity.issueOwnerKey('theirs', 'other')).reveal();
  const other = createClient({ url: server.url, apiKey: foreign });
  await assert.rejects(other.rotateMasterKey(), { code: 'auth.forbidden' });
  await owner.removeWebhook({ params: { id: hook.id } });
});

test('[R-metrics] the server’s metrics have the gateway’s of one’s own workspace', async () => {
  const metrics = async (key: string) =>
    (await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${key}` } })).text();
  const own = await metrics(server.ownerKey);
  assert.match(
    own,
    /holdfast_gateway_attempts_total\{endpoint="chat.completions",route="smart",provider="test",model="gpt-4.1-mini",outcome="ok"\} \d+/,
  );
  assert.match(own, /holdfast_gateway_cache_total\{outcome="hit_semantic"\} \d+/);
  assert.match(own, /holdfast_http_requests_total/);
  const foreign = (await server.server.layers.identity.issueOwnerKey('theirs', 'other')).reveal();
  const theirs = await metrics(foreign);
  assert.match(theirs, /holdfast_gateway_server_attempts_total/);
  assert.doesNotMatch(theirs, /provider="test"|route="smart"/);
});
