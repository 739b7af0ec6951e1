import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problem } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { errorOf, exitCodeOf, renderFailure } from './failure.ts';

test('[R-errors-one-catalogue] an error is two lines with its code, and never a stack unless asked for', () => {
  const error = new HoldfastError('server.unreachable', 'No server\u001b[2J listens.', { requestId: 'req_1' });
  const text = renderFailure(error, { json: false, debug: false });
  assert.equal(
    text,
    'error server.unreachable: No server listens.\nhelp: Start it with: ./holdfast up (request req_1)\n',
  );
  assert.match(renderFailure(error, { json: false, debug: true }), /failure\.test\.ts/);
});

test('[R-errors-one-catalogue] with --json it is the problem document', () => {
  const error = new HoldfastError('resource.not_found', 'There is no such sandbox.', { requestId: 'req_2' });
  const document = problem.parse(JSON.parse(renderFailure(error, { json: true, debug: false })));
  assert.equal(document.code, 'resource.not_found');
  assert.equal(document.status, 404);
  assert.equal(document.requestId, 'req_2');
});

test('a wrong command line ends with 2, every other error with 1', () => {
  assert.equal(exitCodeOf(new HoldfastError('cli.usage')), 2);
  assert.equal(exitCodeOf(errorOf(new TypeError('x'))), 1);
  assert.equal(errorOf('thrown text').code, 'internal.unexpected');
});
