import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, errorCatalogue, HoldfastError } from '@holdfast/core';
import { errorOfProblem, problem, problemOf } from './problem.ts';

test('[R-errors-one-catalogue] every code survives the trip through problem details', () => {
  const codes = Object.keys(errorCatalogue).filter((c): c is ErrorCode => c in errorCatalogue);
  assert.ok(codes.length > 10);
  for (const code of codes) {
    const sent = problemOf(new HoldfastError(code, 'what happened', { field: 1 }), 'req_1');
    const received = problem.parse(JSON.parse(JSON.stringify(sent)));
    assert.equal(received.status, errorCatalogue[code].status);
    const rebuilt = errorOfProblem(received);
    assert.equal(rebuilt.code, code);
    assert.equal(rebuilt.message, 'what happened');
    assert.deepEqual(rebuilt.details, { field: 1, requestId: 'req_1' });
  }
});

test('a code of a later version is kept in the details', () => {
  const sent = { ...problemOf(new HoldfastError('request.invalid'), null), code: 'later.code' };
  const rebuilt = errorOfProblem(sent);
  assert.equal(rebuilt.code, 'internal.unexpected');
  assert.equal(rebuilt.details.code, 'later.code');
});
