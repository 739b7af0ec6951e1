import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Secret } from './secret.ts';

test('a secret shows itself only when asked', () => {
  const secret = new Secret('hf_very-secret');
  const views = [`${secret}`, String(secret), JSON.stringify({ secret }), inspect(secret), inspect({ a: [secret] })];
  for (const view of views) {
    assert.ok(!view.includes('very-secret'), view);
    assert.ok(view.includes('[redacted]'), view);
  }
  assert.deepEqual(Object.keys(secret), []);
  assert.equal(secret.reveal(), 'hf_very-secret');
});
