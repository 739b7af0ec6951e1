import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signAws } from './aws-signature.ts';

/** The credentials and time of AWS's own examples and test suite for Signature Version 4. */
const credentials = {
  accessKeyId: 'AKIDEXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
  sessionToken: null,
};
const shared = {
  host: 'example.amazonaws.com',
  region: 'us-east-1',
  service: 'service',
  at: new Date('2015-08-30T12:36:00Z'),
};
const signatureOf = (authorization: string | undefined): string =>
  /Signature=([0-9a-f]{64})$/.exec(authorization ?? '')?.[1] ?? '';

test("the signatures of AWS's test suite come out", () => {
  const vanilla = signAws({ ...shared, method: 'GET', path: '/', query: '', headers: {}, body: '' }, credentials);
  assert.equal(signatureOf(vanilla.authorization), '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31');
  const post = signAws({ ...shared, method: 'POST', path: '/', query: '', headers: {}, body: '' }, credentials);
  assert.equal(signatureOf(post.authorization), '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b');
  const form = signAws(
    {
      ...{ ...shared, method: 'POST', path: '/', query: '', body: 'Param1=value1' },
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    },
    credentials,
  );
  assert.equal(signatureOf(form.authorization), 'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a');
  assert.match(
    vanilla.authorization ?? '',
    /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20150830\/us-east-1\/service\/aws4_request, SignedHeaders=host;x-amz-date, /,
  );
});

test('a session token is sent and signed', () => {
  const request = { ...shared, method: 'POST', path: '/', query: '', headers: {}, body: '' };
  const signed = signAws(request, { ...credentials, sessionToken: 'token' });
  assert.equal(signed['x-amz-security-token'], 'token');
  assert.match(signed.authorization ?? '', /SignedHeaders=host;x-amz-date;x-amz-security-token,/);
});

test('a path is signed with its segments encoded once more', () => {
  const at = (path: string): string =>
    signatureOf(
      signAws({ ...shared, method: 'POST', path, query: '', headers: {}, body: '' }, credentials).authorization,
    );
  assert.notEqual(at('/model/a%3Ab/invoke'), at('/model/a:b/invoke'));
});
