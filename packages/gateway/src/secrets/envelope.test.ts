import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { HoldfastError, Secret } from '@holdfast/core';
import { type Envelope, openSecret, openText, resealSecret, sealSecret, sealText } from './envelope.ts';
import { MasterKeys } from './master-keys.ts';

const newKey = (): string => randomBytes(32).toString('base64');
const keysOf = (...keys: string[]): MasterKeys => MasterKeys.fromSecret(new Secret(keys.join(',')));
const unreadable = (error: unknown): boolean =>
  error instanceof HoldfastError && error.code === 'gateway.secret_unreadable';
const secret = new Secret('sk-very-secret');

test('[R-gateway-keys-sealed] a secret opens with its master key and what it was bound to, and with nothing else', () => {
  const keys = keysOf(newKey());
  const envelope = sealSecret(keys, secret, 'row 1');
  assert.equal(openSecret(keys, envelope, 'row 1').reveal(), 'sk-very-secret');
  assert.throws(() => openSecret(keys, envelope, 'row 2'), unreadable);
  assert.throws(() => openSecret(keysOf(newKey()), envelope, 'row 1'), unreadable);
  assert.ok(!Buffer.concat([envelope.sealedDataKey, envelope.sealedSecret]).includes('very-secret'));
});

test('[R-gateway-keys-sealed] every changed bit is noticed', () => {
  const keys = keysOf(newKey());
  const envelope = sealSecret(keys, secret, 'row');
  const flipped = (bytes: Buffer, bit: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    return copy;
  };
  const damaged: Envelope[] = [];
  for (let bit = 0; bit < envelope.sealedDataKey.length * 8; bit += 1)
    damaged.push({ ...envelope, sealedDataKey: flipped(envelope.sealedDataKey, bit) });
  for (let bit = 0; bit < envelope.sealedSecret.length * 8; bit += 1)
    damaged.push({ ...envelope, sealedSecret: flipped(envelope.sealedSecret, bit) });
  for (const bytes of [Buffer.alloc(0), envelope.sealedSecret.subarray(0, 20)])
    damaged.push({ ...envelope, sealedSecret: bytes });
  for (const one of damaged) assert.throws(() => openSecret(keys, one, 'row'), unreadable);
});

test('one secret is never sealed the same way twice', () => {
  const keys = keysOf(newKey());
  assert.notDeepEqual(sealSecret(keys, secret, 'row'), sealSecret(keys, secret, 'row'));
});

test('[R-gateway-keys-sealed] rotation seals with the new key, and the old one is not needed afterwards', () => {
  const [old, fresh] = [newKey(), newKey()];
  const envelope = sealSecret(keysOf(old), secret, 'row');
  const both = keysOf(fresh, old);
  const resealed = resealSecret(both, envelope, 'row');
  assert.equal(resealed.masterKeyId, both.currentId);
  assert.equal(openSecret(keysOf(fresh), resealed, 'row').reveal(), 'sk-very-secret');
  assert.throws(() => openSecret(keysOf(old), resealed, 'row'), unreadable);
});

test('a sealed text is one word', () => {
  const keys = keysOf(newKey());
  const text = sealText(keys, secret, 'row');
  assert.match(text, /^v1\.[0-9a-f]{16}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);
  assert.equal(openText(keys, text, 'row').reveal(), 'sk-very-secret');
  for (const bad of ['', 'v2.a.b.c', 'v1.a.b', `${text}.x`, text.slice(0, -2)])
    assert.throws(() => openText(keys, bad, 'row'), unreadable, bad);
});

test('a file of master keys is made once, is for its owner only, and keeps its keys over a rotation', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-keys-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'master.key');
  const keys = await MasterKeys.fromFile(path);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const envelope = sealSecret(keys, secret, 'row');
  await keys.addCurrent();
  assert.notEqual(keys.currentId, envelope.masterKeyId);
  assert.equal((await readFile(path, 'utf8')).trim().split('\n').length, 2);
  const again = await MasterKeys.fromFile(path);
  assert.equal(again.currentId, keys.currentId);
  assert.equal(openSecret(again, envelope, 'row').reveal(), 'sk-very-secret');
});

test('keys that are none are refused', () => {
  for (const bad of ['', 'short', newKey().slice(4), Array.from({ length: 17 }, newKey).join('\n')])
    assert.throws(() => keysOf(bad), /master key/i);
});
