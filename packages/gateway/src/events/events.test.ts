import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { HoldfastError, ManualClock, Secret, silentLog, systemClock, systemRandom } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openIdentity, type Principal } from '@holdfast/identity';
import { MasterKeys } from '../secrets/master-keys.ts';
import { openTestDatabases } from '../test-database.ts';
import { until } from '../test-until.ts';
import { AddressGuard } from './address-guard.ts';
import type { GatewayEvent } from './event.ts';
import { EventLog } from './event-log.ts';
import { WebhookSender } from './webhook-sender.ts';
import { Webhooks } from './webhooks.ts';

let opened: Awaited<ReturnType<typeof openTestDatabases>>;
let owner: Principal;
let stranger: Principal;
const masterKeys = MasterKeys.fromSecret(new Secret(Buffer.alloc(32, 7).toString('base64')));
const here = new AddressGuard(['127.0.0.0/8']);

const databaseAt = (which: number): Database => opened.databases[which] ?? assert.fail();

before(async () => {
  opened = await openTestDatabases(2);
  const identity = await openIdentity({ database: databaseAt(0), clock: systemClock, log: silentLog });
  owner = await identity.authenticate((await identity.issueOwnerKey('mine')).reveal());
  stranger = await identity.authenticate((await identity.issueOwnerKey('theirs', 'other')).reveal());
  await identity.close();
});

after(() => opened[Symbol.asyncDispose]());

const logOn = (which: number, clock = systemClock): EventLog =>
  new EventLog({ database: databaseAt(which), clock, log: silentLog });

const webhooksWith = (guard: AddressGuard): Webhooks =>
  new Webhooks({ database: databaseAt(0), clock: systemClock, random: systemRandom, masterKeys, guard });

const event = (subject: string, more: Partial<GatewayEvent> = {}): GatewayEvent => ({
  ...{ workspaceId: owner.workspaceId, type: 'budget.threshold', subject, data: { percent: 80 }, once: null },
  ...more,
});

const all = { after: 0, types: null, limit: 1_000 };

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
  );

/** Somebody who receives webhooks, and answers with what is set. */
class Receiver {
  readonly requests: { headers: NodeJS.Dict<string | string[]>; body: string }[] = [];
  status = 204;
  readonly #server: Server = createServer(async (request, response) => {
    this.requests.push({ headers: request.headers, body: await text(request) });
    response.writeHead(this.status, this.status === 302 ? { location: `${this.url}/elsewhere` } : {}).end();
  });
  url = '';

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

test('[R-events] events are kept in order, once where they say so, over two processes', async () => {
  const logs = [logOn(0), logOn(1)];
  for (let i = 0; i < 50; i += 1)
    for (const log of logs) log.publish(event(`both ${i}`, { once: `threshold:${i}`, data: { i } }));
  for (const log of logs) await log.flush();
  const found = (await logs[0]?.list(owner.workspaceId, all)) ?? [];
  assert.equal(found.length, 50);
  assert.deepEqual(
    found.map(({ seq }) => seq),
    found.map(({ seq }) => seq).toSorted((a, b) => a - b),
  );
  assert.deepEqual(new Set(found.map(({ data }) => data['i'])).size, 50);
  assert.deepEqual(await logs[0]?.list(stranger.workspaceId, all), []);
  const before = (await logs[0]?.before(owner.workspaceId, 3)) ?? 0;
  assert.equal((await logs[0]?.list(owner.workspaceId, { ...all, after: before }))?.length, 3);
  assert.deepEqual(await logs[0]?.list(owner.workspaceId, { ...all, types: ['kill.set'] }), []);
  for (const log of logs) await log.close();
});

test('[R-events] whoever follows is told, in another process too', async () => {
  const [writes, reads] = [logOn(0), logOn(1)];
  const told: (string | null)[] = [];
  const off = reads.onEvents((workspaceId) => told.push(workspaceId));
  writes.publish(event('told'));
  await until(() => told.includes(owner.workspaceId), 'the news arrive');
  off();
  await writes.close();
  await reads.close();
});

test('[R-webhooks] a message is signed as its receiver verifies it, and repeated until it is taken', async () => {
  const clock = new ManualClock();
  const receiver = new Receiver();
  await receiver.listen();
  const webhooks = webhooksWith(here);
  const { webhook, secret } = await webhooks.create(owner, `${receiver.url}/hook`, ['budget.threshold']);
  const log = logOn(0, clock);
  const sender = new WebhookSender({
    ...{ database: databaseAt(1), clock, log: silentLog },
    random: () => 0.5,
    masterKeys,
    guard: here,
  });
  receiver.status = 500;
  log.publish(event('signed'));
  log.publish(event('not wanted', { type: 'kill.set' }));
  log.publish(event('not ours', { workspaceId: stranger.workspaceId }));
  await log.flush();
  const delivery = async () => (await webhooks.deliveries(owner, webhook.id, 10))[0];
  for (const [attempt, waitMs] of [5_500, 33_000].entries()) {
    sender.nudge();
    await until(
      async () => (await delivery())?.lastError === 'HTTP 500' && receiver.requests.length === attempt + 1,
      'a try',
    );
    await until(async () => (await delivery())?.nextAt?.getTime() === clock.now() + waitMs, 'the next try is set');
    clock.advance(waitMs - 1);
    sender.nudge();
    assert.equal(receiver.requests.length, attempt + 1, 'it waits');
    clock.advance(1);
  }
  receiver.status = 204;
  sender.nudge();
  await until(async () => (await delivery())?.state === 'delivered', 'it is delivered');
  assert.equal((await delivery())?.attempts, 3);
  assert.equal(receiver.requests.length, 3);
  const ids = new Set(receiver.requests.map(({ headers }) => headers['webhook-id']));
  assert.equal(ids.size, 1, 'a receiver can tell that it is the same message');
  for (const { headers, body } of receiver.requests) {
    const key = Buffer.from(secret.reveal().slice('whsec_'.length), 'base64');
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    const expected = createHmac('sha256', key).update(signed).digest('base64');
    assert.equal(headers['webhook-signature'], `v1,${expected}`);
    const document = JSON.parse(body);
    assert.deepEqual([document.type, document.subject, document.data], ['budget.threshold', 'signed', { percent: 80 }]);
  }
  await sender.close();
  await log.close();
  receiver.close();
  await webhooks.remove(owner, webhook.id);
});

test('[R-webhooks] a receiver that never answers well ends as failed, and redirects are not followed', async () => {
  const clock = new ManualClock();
  const receiver = new Receiver();
  await receiver.listen();
  receiver.status = 302;
  const webhooks = webhooksWith(here);
  const { webhook } = await webhooks.create(owner, receiver.url, []);
  await webhooks.test(owner, webhook.id);
  const sender = new WebhookSender({
    ...{ database: databaseAt(0), clock, log: silentLog },
    random: () => 0,
    masterKeys,
    guard: here,
  });
  const delivery = async () => (await webhooks.deliveries(owner, webhook.id, 10))[0];
  // Deliveries are queued by the real clock, which is ahead of this one.
  clock.advance(Date.now() - clock.now() + 60_000);
  for (let attempt = 1; attempt <= 8; attempt += 1) {
    sender.nudge();
    await until(async () => {
      const found = await delivery();
      return (
        found?.attempts === attempt &&
        found.lastError === 'HTTP 302' &&
        (found.state === 'failed' || (found.nextAt?.getTime() ?? 0) > clock.now() + 4_000)
      );
    }, `try ${attempt}`);
    await until(
      async () =>
        (await delivery())?.state === 'failed' || (await delivery())?.nextAt?.getTime() !== clock.now() + 60_000,
      'written',
    );
    clock.advance(43_200_000);
  }
  assert.equal((await delivery())?.state, 'failed');
  assert.equal(receiver.requests.length, 8);
  await sender.close();
  receiver.close();
});

test('[R-ssrf] addresses that are not public are refused, in every notation, when set and when sent', async () => {
  const guard = new AddressGuard([]);
  const refused = [
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0177.0.0.1/',
    'http://0.0.0.0/',
    'http://10.0.0.1/',
    'http://100.64.0.1/',
    'http://169.254.169.254/latest/meta-data',
    'http://172.16.0.1/',
    'http://192.168.1.1/',
    'http://224.0.0.1/',
    'http://255.255.255.255/',
    'http://[::1]/',
    'http://[::]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://[::127.0.0.1]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[2002:7f00:1::]/',
    'http://[fd00::1]/',
    'http://[fe80::1]/',
  ];
  for (const url of refused)
    assert.throws(
      () => guard.checkUrl(url),
      (e) => e instanceof HoldfastError && e.code === 'webhook.address_refused',
      url,
    );
  for (const url of ['ftp://example.com/', 'file:///etc/passwd', 'example.com', 'http://a:b@example.com/', ''])
    assert.throws(
      () => guard.checkUrl(url),
      (e) => e instanceof HoldfastError && e.code === 'request.invalid',
      url,
    );
  for (const url of ['http://8.8.8.8/', 'https://[2606:4700::1111]/', 'https://example.com/x'])
    assert.equal(guard.checkUrl(url).href, url);
  assert.throws(() => new AddressGuard(['10.0.0.0/33']));
  assert.throws(() => new AddressGuard(['example.com']));
  assert.ok(new AddressGuard(['10.0.0.0/8']).permits('10.1.2.3'));

  const receiver = new Receiver();
  await receiver.listen();
  const port = new URL(receiver.url).port;
  assert.equal(await codeOf(webhooksWith(guard).create(owner, receiver.url, [])), 'webhook.address_refused');
  // A name is looked up when something is sent; what it means then is what counts.
  const webhooks = webhooksWith(guard);
  const { webhook } = await webhooks.create(owner, `http://localhost:${port}/`, []);
  await webhooks.test(owner, webhook.id);
  const sender = new WebhookSender({
    ...{ database: databaseAt(0), clock: systemClock, log: silentLog },
    ...{ random: () => 0, masterKeys, guard },
  });
  sender.nudge();
  await until(
    async () => (await webhooks.deliveries(owner, webhook.id, 1))[0]?.lastError === 'webhook.address_refused',
    'it is refused',
  );
  assert.equal(receiver.requests.length, 0);
  await sender.close();
  receiver.close();
});

test('[R-isolation] a webhook and its deliveries belong to one workspace, and its secret is not stored readably', async () => {
  const webhooks = webhooksWith(new AddressGuard([]));
  const { webhook, secret } = await webhooks.create(owner, 'https://example.com/hook', []);
  assert.equal(await codeOf(webhooks.remove(stranger, webhook.id)), 'resource.not_found');
  assert.equal(await codeOf(webhooks.test(stranger, webhook.id)), 'resource.not_found');
  assert.equal(await codeOf(webhooks.deliveries(stranger, webhook.id, 5)), 'resource.not_found');
  assert.deepEqual(await webhooks.list(stranger), []);
  const rows = await databaseAt(0).kysely.selectFrom('webhooks').selectAll().execute();
  const raw = Buffer.from(secret.reveal().slice('whsec_'.length), 'base64');
  for (const form of [secret.reveal(), secret.reveal().slice(6), raw.toString('hex')])
    assert.ok(!JSON.stringify(rows).includes(form));
  await webhooks.remove(owner, webhook.id);
});
