import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { systemClock } from '@holdfast/core';
import { gatewayConfiguration } from './configuration.ts';
import { HttpClient } from './providers/http-client.ts';
import { reachedProvider } from './providers/open-provider.ts';
import { ModelTable } from './routing/model-table.ts';
import { HealthBook } from './routing/target-health.ts';

const openai = {
  name: 'openai',
  kind: 'openai-compatible',
  baseUrl: 'https://api.openai.com/v1',
  apiKey: 'sk-x',
} as const;

test('a configuration gets its defaults, and keeps its keys to itself', () => {
  const config = gatewayConfiguration.parse({ providers: [openai] });
  const [provider] = config.providers;
  assert.equal(provider?.timeoutMs, 120_000);
  assert.doesNotMatch(JSON.stringify(config) + inspect(config, { depth: 9 }), /sk-x/);
  assert.deepEqual(gatewayConfiguration.parse({}), { providers: [], routes: [] });
});

test('what cannot work is refused', () => {
  const target = { provider: 'openai', model: 'gpt-4.1' };
  const bad: unknown[] = [
    { providers: [openai, openai] },
    { providers: [{ ...openai, baseUrl: 'ftp://x' }] },
    { providers: [{ ...openai, baseUrl: 'not a url' }] },
    { providers: [{ ...openai, name: 'Open AI' }] },
    { providers: [{ ...openai, kind: 'other' }] },
    { providers: [{ ...openai, apikey: 'x' }] },
    { providers: [{ ...openai, timeoutMs: 0 }] },
    { providers: [{ ...openai, timeoutMs: Number.NaN }] },
    { providers: [{ name: 'r', kind: 'recorded', baseUrl: 'relative/folder' }] },
    { providers: [openai], routes: [{ name: 'a', targets: [] }] },
    { providers: [openai], routes: [{ name: 'a', targets: [{ provider: 'nobody', model: 'x' }] }] },
    {
      providers: [openai],
      routes: [
        { name: 'a', targets: [target] },
        { name: 'a', targets: [target] },
      ],
    },
  ];
  for (const config of bad) assert.ok(!gatewayConfiguration.safeParse(config).success, JSON.stringify(config));
});

test('a model name finds a route, then a named provider, then who lists it, then who takes any', () => {
  const { providers, routes } = gatewayConfiguration.parse({
    providers: [
      { ...openai, name: 'a', models: ['gpt-4.1', 'shared'] },
      { ...openai, name: 'b', models: ['shared', 'org/model'] },
      { ...openai, name: 'any' },
    ],
    routes: [{ name: 'gpt-4.1', targets: [{ provider: 'b', model: 'shared' }] }],
  });
  const http = new HttpClient();
  const owned = providers.flatMap((p) =>
    p.kind === 'recorded' ? [] : [{ owner: '', provider: reachedProvider(p, http, systemClock) }],
  );
  const table = new ModelTable(owned, routes, new HealthBook(systemClock));
  const found = (model: string): string[] => {
    const { route, variants } = table.resolve(model);
    const targets = variants.flatMap((v) => v.targets);
    return [...(route === null ? [] : [`route ${route}`]), ...targets.map((t) => `${t.provider.name}:${t.model}`)];
  };
  assert.deepEqual(found('gpt-4.1'), ['route gpt-4.1', 'b:shared']);
  assert.deepEqual(found('a/gpt-4.1'), ['a:gpt-4.1']);
  assert.deepEqual(found('shared'), ['a:shared', 'b:shared']);
  assert.deepEqual(found('org/model'), ['b:org/model']);
  assert.deepEqual(found('any/org/model'), ['any:org/model']);
  assert.deepEqual(found('whatever'), ['any:whatever']);
  assert.deepEqual(found('a/unlisted'), ['any:a/unlisted']);
  assert.throws(() => new ModelTable([], [], new HealthBook(systemClock)).resolve('x'), /No route or provider/);
});
