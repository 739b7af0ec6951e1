import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCatalogue, HoldfastError } from './errors.ts';

test('each code of the catalogue is well formed', () => {
  for (const [code, kind] of Object.entries(errorCatalogue)) {
    assert.match(code, /^[a-z0-9]+(?:_[a-z0-9]+)*\.[a-z0-9]+(?:_[a-z0-9]+)*$/, code);
    assert.ok(kind.status >= 400 && kind.status <= 599, code);
    assert.match(kind.title, /^[A-Z].*\.$/, code);
    assert.ok(kind.help.length > 5, code);
  }
});

test('an error carries its kind and keeps its cause', () => {
  const cause = new Error('below');
  const error = new HoldfastError('resource.not_found', undefined, { id: 'x' }, { cause });
  assert.equal(error.message, errorCatalogue['resource.not_found'].title);
  assert.equal(error.kind.status, 404);
  assert.equal(error.cause, cause);
  assert.ok(error instanceof Error);
});
