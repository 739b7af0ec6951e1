import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { HoldfastError, systemClock } from '@holdfast/core';
import type { Endpoint, WireFormat } from '../doors/endpoint.ts';
import { answers, TestProvider } from '../test-provider.ts';
import { HttpClient } from './http-client.ts';
import { openProvider } from './open-provider.ts';
import { providerConfiguration } from './provider-configuration.ts';

const server = new TestProvider();
const http = new HttpClient();

before(() => server.listen());
after(async () => {
  await http.close();
  await server.close();
});

const origin = (): string => server.baseUrl.replace('/v1', '');

interface Row {
  readonly config: Readonly<Record<string, unknown>>;
  readonly format: WireFormat;
  readonly endpoint?: Endpoint;
  readonly stream?: boolean;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | RegExp>>;
}

const key = { apiKey: 'sk-1' };
const bearer = { authorization: 'Bearer sk-1' };
const bedrock = { kind: 'bedrock', region: 'eu-west-1', accessKeyId: 'AKID', secretAccessKey: 'secret' };

const table: readonly Row[] = [
  { config: { kind: 'openai', ...key }, format: 'openai-chat', url: '/v1/chat/completions', headers: bearer },
  { config: { kind: 'openai', ...key }, format: 'openai-responses', url: '/v1/responses', headers: bearer },
  {
    config: { kind: 'openai', ...key, organization: 'org', project: 'proj' },
    ...{ format: 'openai-embeddings', endpoint: 'embeddings', url: '/v1/embeddings' },
    headers: { ...bearer, 'openai-organization': 'org', 'openai-project': 'proj' },
  },
  {
    config: { kind: 'openai-compatible', headers: { 'x-title': 'Holdfast' } },
    ...{
      format: 'openai-images',
      endpoint: 'images.edits',
      url: '/v1/images/edits',
      headers: { 'x-title': 'Holdfast' },
    },
  },
  {
    config: { kind: 'openai-compatible', formats: ['openai-chat', 'anthropic'] },
    ...{ format: 'anthropic', url: '/v1/messages', headers: {} },
  },
  {
    config: { kind: 'anthropic', ...key },
    ...{
      format: 'anthropic',
      url: '/v1/messages',
      headers: { 'x-api-key': 'sk-1', 'anthropic-version': '2023-06-01' },
    },
  },
  {
    config: { kind: 'anthropic', ...key },
    ...{ format: 'anthropic-count', url: '/v1/messages/count_tokens', headers: { 'x-api-key': 'sk-1' } },
  },
  {
    config: { kind: 'gemini', ...key },
    ...{ format: 'gemini', url: '/v1beta/models/model%2F1:generateContent', headers: { 'x-goog-api-key': 'sk-1' } },
  },
  {
    config: { kind: 'gemini', ...key },
    ...{ format: 'gemini', stream: true, url: '/v1beta/models/model%2F1:streamGenerateContent?alt=sse', headers: {} },
  },
  {
    config: { kind: 'gemini', ...key },
    ...{ format: 'gemini-embed', url: '/v1beta/models/model%2F1:embedContent', headers: { 'x-goog-api-key': 'sk-1' } },
  },
  {
    config: { kind: 'gemini', ...key },
    ...{ format: 'openai-embeddings', url: '/v1beta/openai/embeddings', headers: bearer },
  },
  {
    config: { kind: 'azure', ...key },
    ...{ format: 'openai-responses', url: '/openai/v1/responses', headers: { 'api-key': 'sk-1' } },
  },
  {
    config: { kind: 'azure', ...key, apiVersion: '2024-10-21' },
    ...{ format: 'openai-chat', headers: { 'api-key': 'sk-1' } },
    url: '/openai/deployments/model%2F1/chat/completions?api-version=2024-10-21',
  },
  {
    config: { ...bedrock, sessionToken: 'token' },
    ...{ format: 'anthropic', url: '/model/model%2F1/invoke' },
    headers: {
      'x-amz-security-token': 'token',
      authorization:
        /^AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/eu-west-1\/bedrock\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
    },
  },
  {
    config: bedrock,
    ...{ format: 'anthropic', stream: true, url: '/model/model%2F1/invoke-with-response-stream', headers: {} },
  },
];

const baseUrlOf = (kind: unknown): string => (String(kind).startsWith('openai') ? `${origin()}/v1/` : origin());

for (const row of table)
  test(`${String(row.config.kind)} is reached in ${row.format} at ${row.url}`, async () => {
    server.will(answers(200));
    const { kind } = row.config;
    const config = providerConfiguration.parse({ name: 'p', baseUrl: baseUrlOf(kind), ...row.config });
    const provider = await openProvider(config, http, systemClock);
    const body = JSON.stringify({ model: 'model/1', stream: true, max_tokens: 5, messages: [] });
    const answer = await provider.send(
      {
        ...{ endpoint: row.endpoint ?? 'chat.completions', format: row.format, model: 'model/1' },
        ...{ stream: row.stream === true, body, contentType: 'application/json', headers: { accept: 'x/y' } },
      },
      new AbortController().signal,
    );
    assert.equal(answer.status, 200);
    while ((await answer.body.read()) !== null);
    const [received] = server.received;
    assert.equal(received?.url, row.url);
    for (const [name, wanted] of Object.entries(row.headers)) {
      const value: string = String(received?.headers[name]);
      if (typeof wanted === 'string') assert.equal(value, wanted, name);
      else assert.match(value, wanted, name);
    }
    const sent: unknown = JSON.parse(received?.body.toString() ?? '');
    const expected =
      kind === 'bedrock' ? { anthropic_version: 'bedrock-2023-05-31', max_tokens: 5, messages: [] } : JSON.parse(body);
    assert.deepEqual(sent, expected);
  });

test('what a provider speaks, what is translated for it, and what it cannot do', async () => {
  const formats = [
    'openai-chat',
    'openai-responses',
    'anthropic',
    'gemini',
    'openai-embeddings',
    'gemini-embed',
    'anthropic-count',
    'openai-audio',
  ] as const;
  const rows: [Readonly<Record<string, unknown>>, readonly (WireFormat | null)[]][] = [
    [
      { kind: 'openai' },
      [
        'openai-chat',
        'openai-responses',
        'openai-chat',
        'openai-chat',
        'openai-embeddings',
        null,
        null,
        'openai-audio',
      ],
    ],
    [
      { kind: 'openai-compatible' },
      ['openai-chat', 'openai-chat', 'openai-chat', 'openai-chat', 'openai-embeddings', null, null, 'openai-audio'],
    ],
    [
      { kind: 'openai-compatible', formats: ['anthropic'] },
      [
        'anthropic',
        'anthropic',
        'anthropic',
        'anthropic',
        'openai-embeddings',
        null,
        'anthropic-count',
        'openai-audio',
      ],
    ],
    [{ kind: 'anthropic' }, ['anthropic', 'anthropic', 'anthropic', 'anthropic', null, null, 'anthropic-count', null]],
    [{ kind: 'gemini' }, ['gemini', 'gemini', 'gemini', 'gemini', 'openai-embeddings', 'gemini-embed', null, null]],
    [
      { kind: 'azure' },
      [
        'openai-chat',
        'openai-responses',
        'openai-chat',
        'openai-chat',
        'openai-embeddings',
        null,
        null,
        'openai-audio',
      ],
    ],
    [
      { kind: 'azure', apiVersion: 'v' },
      ['openai-chat', 'openai-chat', 'openai-chat', 'openai-chat', 'openai-embeddings', null, null, 'openai-audio'],
    ],
    [bedrock, ['anthropic', 'anthropic', 'anthropic', 'anthropic', null, null, null, null]],
  ];
  for (const [given, wanted] of rows) {
    const config = providerConfiguration.parse({ name: 'p', baseUrl: 'http://127.0.0.1:1', ...given });
    const provider = await openProvider(config, http, systemClock);
    assert.deepEqual(
      formats.map((format) => provider.formatFor('chat.completions', format)),
      wanted,
      JSON.stringify(given),
    );
  }
});

test('a provider that was never given its key refuses by itself', async () => {
  for (const kind of ['anthropic', 'gemini', 'azure']) {
    const config = providerConfiguration.parse({ name: 'p', baseUrl: 'http://127.0.0.1:1', kind });
    const provider = await openProvider(config, http, systemClock);
    const call = { endpoint: 'messages', format: 'anthropic', model: 'm', stream: false } as const;
    await assert.rejects(
      provider.send(
        { ...call, body: '{}', contentType: 'application/json', headers: {} },
        new AbortController().signal,
      ),
      (error) => error instanceof HoldfastError && error.code === 'gateway.provider_refused',
    );
  }
});

test('[R-backpressure] a provider is held back while nobody reads its answer', async () => {
  let written = 0;
  server.will(async (request, response) => {
    response.writeHead(200);
    let open = true;
    void request.closed.then(() => {
      open = false;
    });
    while (open && written < 4_000) {
      written += 1;
      await new Promise<void>((resolve) => response.write(Buffer.alloc(65_536), () => resolve()));
    }
    response.end();
  });
  const config = providerConfiguration.parse({ name: 'p', kind: 'openai-compatible', baseUrl: server.baseUrl });
  const provider = await openProvider(config, http, systemClock);
  const abort = new AbortController();
  const call = { endpoint: 'chat.completions', format: 'openai-chat', model: 'm', stream: false } as const;
  const answer = await provider.send(
    { ...call, body: '{}', contentType: 'application/json', headers: {} },
    abort.signal,
  );
  let before = -1;
  while (before !== written) {
    before = written;
    for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(written < 400, `${written * 64} KiB were taken in without a reader`);
  let bytes = 0;
  for (let chunk = await answer.body.read(); bytes < 40_000_000 && chunk !== null; chunk = await answer.body.read())
    bytes += chunk.length;
  assert.ok(bytes >= 40_000_000, 'it goes on when somebody reads');
  const reason = new Error('enough');
  abort.abort(reason);
  await assert.rejects(
    async () => {
      while ((await answer.body.read()) !== null);
    },
    (error) => error === reason,
  );
});
