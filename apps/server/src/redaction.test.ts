import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError, Secret } from '@holdfast/core';
import { redact } from './redaction.ts';

const key = `hf_${'0'.repeat(26)}_${'s3cret'.repeat(5)}xx`;

test('[R-secrets-stay-secret] no form of a secret gets into a log', () => {
  const values: readonly unknown[] = [
    { authorization: `Bearer ${key}` },
    { headers: { Cookie: `hf_key=${key}` } },
    { password: 's3cret', apiKey: 's3cret', api_key: 's3cret', token: 's3cret' },
    `the key ${key} was refused`,
    'postgresql://user:s3cret@host/db',
    'Authorization: Bearer s3cret-token',
    'sk-s3crets3cretS3cret0',
    new Secret('s3cret'),
    new Error(`cannot reach postgresql://user:s3cret@host`, { cause: new Error(key) }),
    new HoldfastError('auth.invalid', 'no', { key }),
    [[{ deep: [key] }]],
    new Map([['a', key]]),
    Buffer.from(key),
  ];
  for (const value of values) {
    const text = JSON.stringify(redact(value));
    assert.ok(!text.toLowerCase().includes('s3cret'), text);
  }
});

test('what is written is bounded, whatever it is', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  assert.ok(JSON.stringify(redact(cycle)).length < 1_000);
  assert.ok(JSON.stringify(redact('x'.repeat(1_000_000))).length < 10_000);
  assert.ok(JSON.stringify(redact(Array.from({ length: 100_000 }, () => 1))).length < 1_000);
  assert.equal(redact(10n), '10');
});

test('ordinary facts stay as they are', () => {
  const facts = { route: 'exec', ms: 1.5, ok: true, none: null, items: ['a'] };
  assert.deepEqual(redact(facts), facts);
});
