import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problem } from '@holdfast/contract';
import { type ErrorCode, errorCatalogue, HoldfastError } from '@holdfast/core';
import { asHoldfastError, problemResponse } from './failure.ts';

const codes = Object.keys(errorCatalogue).filter((code): code is ErrorCode => code in errorCatalogue);

test('[R-problem-details] every code of the catalogue renders as a problem document', async () => {
  for (const code of codes) {
    const answer = problemResponse(new HoldfastError(code, 'this time', { fact: 1 }), 'req_1');
    assert.equal(answer.status, errorCatalogue[code].status, code);
    assert.equal(answer.headers.get('content-type'), 'application/problem+json');
    assert.equal(answer.headers.get('x-request-id'), 'req_1');
    const document = problem.parse(await answer.json());
    assert.deepEqual(
      [document.code, document.status, document.title, document.detail, document.details],
      [code, errorCatalogue[code].status, errorCatalogue[code].title, 'this time', { fact: 1 }],
    );
  }
});

test('[R-problem-details] what nobody expected is told to the log, not to the client', async () => {
  const error = asHoldfastError(new Error('the password is hunter2'));
  assert.equal(error.code, 'internal.unexpected');
  assert.ok(!(await problemResponse(error, null).text()).includes('hunter2'));
});

test('errors of the database get codes of the catalogue', () => {
  const withCode = (code: string) => Object.assign(new Error('x'), { code });
  assert.equal(asHoldfastError(withCode('ECONNREFUSED')).code, 'database.unreachable');
  assert.equal(asHoldfastError(withCode('57P03')).code, 'database.unreachable');
  assert.equal(asHoldfastError(withCode('22P05')).code, 'request.invalid');
  assert.equal(asHoldfastError(withCode('42P01')).code, 'internal.unexpected');
});
