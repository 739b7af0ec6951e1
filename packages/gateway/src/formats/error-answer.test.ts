import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { type ErrorCode, errorCatalogue, HoldfastError } from '@holdfast/core';
import OpenAI from 'openai';
import { errorAnswer, errorEvent } from './error-answer.ts';
import { formats } from './format.ts';
import { isObject } from './json-value.ts';

const codes = Object.keys(errorCatalogue).filter((code): code is ErrorCode => Object.hasOwn(errorCatalogue, code));

test('[R-error-shape] every error of the catalogue is one that the client of OpenAI knows', () => {
  for (const code of codes) {
    const { status, body } = errorAnswer('openai', new HoldfastError(code, 'No.', { field: 'model' }), 'req_1');
    const error = OpenAI.APIError.generate(status, body, undefined, new Headers());
    assert.deepEqual([error.status, error.code, error.param], [errorCatalogue[code].status, code, 'model']);
    assert.match(error.message, /No\./);
    assert.ok(typeof error.type === 'string' && error.type !== '', code);
  }
});

test('[R-error-shape] every error of the catalogue is one that the client of Anthropic knows', () => {
  for (const code of codes) {
    const { status, body } = errorAnswer('anthropic', new HoldfastError(code, 'No.'), 'req_1');
    const error = Anthropic.APIError.generate(status, body, undefined, new Headers());
    assert.deepEqual([error.status, error.errorCode, error.apiMessage], [errorCatalogue[code].status, code, 'No.']);
    assert.ok(error.type?.endsWith('error'), code);
    assert.equal(body.request_id, 'req_1');
  }
});

test('[R-error-shape] every error of the catalogue has the form of Google', () => {
  for (const code of codes) {
    const error = new HoldfastError(code, 'No.', { attempts: [{ provider: 'a' }], field: 'x' });
    const { status, body } = errorAnswer('gemini', error, 'req_1');
    const inner = body.error;
    assert.ok(isObject(inner));
    assert.equal(inner.code, status);
    assert.match(String(inner.status), /^[A-Z_]+$/);
    assert.deepEqual(inner.details, [
      {
        '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
        reason: code,
        domain: 'holdfast',
        metadata: { attempts: '[{"provider":"a"}]', field: 'x' },
      },
    ]);
  }
});

test('[R-error-shape] each format has an event for an error behind the first content', () => {
  const error = new HoldfastError('gateway.stream_broken', 'It broke off.');
  const events = formats.map((format) => [format, errorEvent(format, error)] as const);
  for (const [format, { event, data }] of events) {
    const body: unknown = JSON.parse(data);
    assert.ok(isObject(body));
    const isNamed = format === 'anthropic' || format === 'openai-responses';
    assert.equal(event, isNamed ? 'error' : null, format);
    const holder = format === 'openai-responses' ? body : body.error;
    assert.ok(isObject(holder));
    assert.equal(holder.message, 'It broke off.');
  }
});
