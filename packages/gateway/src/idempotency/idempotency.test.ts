import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, ManualClock, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { openIdentity } from '@holdfast/identity';
import type { StoredAnswer } from '../caches/cache.ts';
import { openTestDatabases } from '../test-database.ts';
import { until } from '../test-until.ts';
import type { Idempotency, IdempotencyOutcome, IdempotencyRequest, IdempotencyTicket } from './idempotency.ts';
import { openIdempotency } from './idempotency-store.ts';
import { requestDigest } from './request-digest.ts';

let opened: Awaited<ReturnType<typeof openTestDatabases>>;
let workspaceId: string;
let otherId: string;
const open: Idempotency[] = [];

const start = (which: number, clock = systemClock, maxAnswerBytes = 1_000): Idempotency => {
  const database: Database = opened.databases[which] ?? assert.fail();
  const idempotency = openIdempotency({ database, clock, log: silentLog, maxAnswerBytes });
  open.push(idempotency);
  return idempotency;
};

before(async () => {
  opened = await openTestDatabases(2);
  const database = opened.databases[0] ?? assert.fail();
  const identity = await openIdentity({ database, clock: systemClock, log: silentLog });
  workspaceId = (await identity.authenticate((await identity.issueOwnerKey('mine')).reveal())).workspaceId;
  otherId = (await identity.authenticate((await identity.issueOwnerKey('theirs', 'other')).reveal())).workspaceId;
  await identity.close();
});

after(async () => {
  for (const one of open) await one.close();
  await opened[Symbol.asyncDispose]();
});

const requestOf = (
  idempotencyKey: string,
  body = '{}',
  more: Partial<IdempotencyRequest> = {},
): IdempotencyRequest => ({
  ...{ workspaceId, keyId: 'key_1', idempotencyKey, digest: requestDigest('/v1/chat/completions', body) },
  ...more,
});

const answer: StoredAnswer = {
  ...{ status: 200, headers: { 'content-type': 'text/event-stream' }, streamed: true, usage: null },
  body: new TextEncoder().encode('data: 1\n\n'),
};

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
  );

const ticketOf = (outcome: IdempotencyOutcome): IdempotencyTicket =>
  outcome.kind === 'run' ? outcome.ticket : assert.fail('it was not ours to run');

test('[R-idempotency] of many requests with one key, over two processes, one runs and the others get 409, then its answer', async () => {
  const both = [start(0), start(1)];
  const tries = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      (both[i % 2] ?? assert.fail()).begin(requestOf('many')).then(
        (outcome) => outcome,
        (error: unknown) => (error instanceof HoldfastError ? error.code : String(error)),
      ),
    ),
  );
  const runs = tries.filter((outcome) => typeof outcome !== 'string');
  assert.equal(runs.length, 1);
  assert.ok(tries.every((outcome) => typeof outcome !== 'string' || outcome === 'gateway.idempotency_running'));
  await ticketOf(runs[0] ?? assert.fail()).finish(answer);
  for (const one of both) {
    const outcome = await one.begin(requestOf('many'));
    assert.ok(outcome.kind === 'replay');
    assert.deepEqual(Buffer.from(outcome.answer.body).toString(), 'data: 1\n\n');
    assert.deepEqual(
      [outcome.answer.status, outcome.answer.streamed, outcome.answer.headers],
      [200, true, answer.headers],
    );
  }
});

test('[R-idempotency] a key belongs to one API key of one workspace', async () => {
  const one = start(0);
  await ticketOf(await one.begin(requestOf('mine'))).finish(answer);
  for (const more of [{ keyId: 'key_2' }, { workspaceId: otherId }])
    assert.equal((await one.begin(requestOf('mine', '{}', more))).kind, 'run');
});

test('[R-idempotency] a key with another request under it is refused', async () => {
  const one = start(0);
  const ticket = ticketOf(await one.begin(requestOf('differs', '{"a":1}')));
  assert.equal(await codeOf(one.begin(requestOf('differs', '{"a":2}'))), 'gateway.idempotency_mismatch');
  await ticket.finish(answer);
  assert.equal(await codeOf(one.begin(requestOf('differs', '{"a":2}'))), 'gateway.idempotency_mismatch');
});

test('[R-idempotency] what came to nothing may be tried again, and what is too large to keep is not done twice', async () => {
  const one = start(0);
  const ticket = ticketOf(await one.begin(requestOf('again')));
  await ticket.abandon();
  await ticket.finish(answer);
  const second = ticketOf(await one.begin(requestOf('again')));
  await second.finish({ ...answer, body: new Uint8Array(1_001) });
  assert.equal(await codeOf(one.begin(requestOf('again'))), 'gateway.idempotency_lost');
});

test('[R-idempotency] a request whose process died is free after its lease, and one that lives keeps it', async () => {
  const clock = new ManualClock();
  const [dies, lives] = [start(0, clock), start(1, clock)];
  const left = ticketOf(await dies.begin(requestOf('left')));
  await dies.close();
  const kept = ticketOf(await lives.begin(requestOf('kept')));
  const database = opened.databases[0] ?? assert.fail();
  const leaseOf = async (key: string): Promise<number> => {
    const query = database.kysely
      .selectFrom('idempotency_keys')
      .select('lease_until')
      .where('idempotency_key', '=', key);
    return (await query.executeTakeFirstOrThrow()).lease_until.getTime();
  };
  for (let round = 0; round < 4; round += 1) {
    clock.advance(20_000);
    await until(async () => (await leaseOf('kept')) === clock.now() + 60_000, 'the lease is renewed');
  }
  assert.equal(await codeOf(lives.begin(requestOf('kept'))), 'gateway.idempotency_running');
  const taken = ticketOf(await lives.begin(requestOf('left')));
  // The one that lost its turn changes nothing any more.
  await left.finish(answer);
  assert.equal(await codeOf(lives.begin(requestOf('left'))), 'gateway.idempotency_running');
  await taken.abandon();
  await kept.finish(answer);
  clock.advance(86_400_000);
  assert.equal((await lives.begin(requestOf('kept'))).kind, 'run', 'after a day the key is new');
});

test('keys of any other form are refused', async () => {
  const one = start(0);
  for (const key of ['', 'x'.repeat(256), 'ü', 'a\nb'])
    assert.equal(await codeOf(one.begin(requestOf(key))), 'request.invalid');
});
