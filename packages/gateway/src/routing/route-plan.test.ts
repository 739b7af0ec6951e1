import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@holdfast/core';
import type { Provider } from '../providers/provider.ts';
import { ModelTable } from './model-table.ts';
import { modelRouteConfiguration } from './route-configuration.ts';
import { planRoute } from './route-plan.ts';
import { HealthBook } from './target-health.ts';
import type { OrderFacts } from './target-order.ts';

const providerNamed = (name: string): Provider => ({
  ...{ name, kind: 'openai-compatible', priceProvider: name, recorded: false, timeoutMs: 1_000, models: null },
  formatFor: (_endpoint, format) => format,
  send: () => Promise.reject(new Error('never asked')),
});

const owned = ['a', 'b', 'c'].map((name) => ({ owner: '', provider: providerNamed(name) }));
const targetsOf = (...names: string[]) => names.map((provider) => ({ provider, model: 'm' }));

const openRoute = (route: object) => {
  const health = new HealthBook(new ManualClock());
  const table = new ModelTable(owned, [modelRouteConfiguration.parse({ name: 'r', ...route })], health);
  const resolved = table.resolve('r');
  const healthOf = (name: string) => health.of(`/${name}/m`);
  let seed = 1;
  // A small generator of even shares, the same in every run.
  const random = (): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed / 2_147_483_647;
  };
  const plan = (facts: Partial<OrderFacts> = {}) =>
    planRoute(resolved, { conversation: null, costOf: () => null, random, ...facts }, () => true);
  const order = (facts: Partial<OrderFacts> = {}): string =>
    plan(facts)
      .targets.map(({ provider }) => provider.name)
      .join('');
  return { plan, order, healthOf };
};

const share = (count: number, of: () => string, wanted: string): number => {
  let hits = 0;
  for (let i = 0; i < count; i += 1) if (of() === wanted) hits += 1;
  return hits / count;
};

test('targets are tried as listed, and lower priorities first', () => {
  assert.equal(openRoute({ targets: targetsOf('b', 'a', 'c') }).order(), 'bac');
  const [first, ...rest] = targetsOf('b', 'a', 'c');
  assert.equal(openRoute({ targets: [{ ...first, priority: 9 }, ...rest] }).order(), 'acb');
});

test('weights share the first place, and a weight of zero is for failover only', () => {
  const targets = [
    { provider: 'a', model: 'm', weight: 3 },
    { provider: 'b', model: 'm', weight: 1 },
    { provider: 'c', model: 'm', weight: 0 },
  ];
  const { order } = openRoute({ strategy: 'weight', targets });
  const part = share(4_000, () => order().charAt(0), 'a');
  assert.ok(part > 0.72 && part < 0.78, `${part} instead of three quarters`);
  for (let i = 0; i < 200; i += 1) assert.equal(order().charAt(2), 'c');
});

test('the least latency comes first, and what is not known is found out', () => {
  const { order, healthOf } = openRoute({ strategy: 'latency', targets: targetsOf('a', 'b', 'c') });
  assert.equal(order(), 'abc');
  for (const [name, ms] of [
    ['a', 300],
    ['b', 100],
  ] as const) {
    healthOf(name).begin();
    healthOf(name).succeeded(ms);
  }
  assert.equal(order(), 'cba');
  healthOf('c').begin();
  assert.equal(order(), 'bac', 'one call is finding out already');
});

test('the lowest cost comes first, and what has no price last', () => {
  const { order } = openRoute({ strategy: 'cost', targets: targetsOf('a', 'b', 'c') });
  const costs = new Map([
    ['a', null],
    ['b', 20n],
    ['c', 3n],
  ]);
  assert.equal(order({ costOf: ({ provider }) => costs.get(provider.name) ?? null }), 'cba');
});

test('[R-gateway-sticky] a conversation stays with its target, and conversations share the targets', () => {
  const { order } = openRoute({ sticky: true, strategy: 'weight', targets: targetsOf('a', 'b', 'c') });
  const firsts = new Map<string, number>();
  for (let i = 0; i < 900; i += 1) {
    const conversation = `conversation ${i}`;
    const first = order({ conversation });
    assert.equal(order({ conversation }), first);
    firsts.set(first.charAt(0), (firsts.get(first.charAt(0)) ?? 0) + 1);
  }
  for (const name of ['a', 'b', 'c']) assert.ok((firsts.get(name) ?? 0) > 230, `${name}: ${firsts.get(name)}`);
});

test('a split draws a variant for each call by weight, for each conversation when it is sticky', () => {
  const variants = [
    { name: 'old', weight: 9, targets: targetsOf('a') },
    { name: 'new', weight: 1, targets: targetsOf('b') },
  ];
  const split = openRoute({ variants });
  const part = share(4_000, () => split.plan().variant ?? '', 'new');
  assert.ok(part > 0.08 && part < 0.12, `${part} instead of a tenth`);
  const sticky = openRoute({ variants, sticky: true });
  for (let i = 0; i < 100; i += 1) {
    const conversation = `c${i}`;
    assert.equal(sticky.plan({ conversation }).variant, sticky.plan({ conversation }).variant);
  }
});

test('a route that contradicts itself is refused', () => {
  const bad = [
    { targets: targetsOf('a'), variants: [{ name: 'x', targets: targetsOf('a') }] },
    {},
    { targets: targetsOf('a'), sticky: true, strategy: 'latency' },
    {
      variants: [
        { name: 'x', targets: targetsOf('a') },
        { name: 'x', targets: targetsOf('b') },
      ],
    },
    { targets: [{ provider: 'a', model: 'm', weight: -1 }] },
    { targets: targetsOf('a'), retries: 6 },
  ];
  for (const route of bad) assert.ok(!modelRouteConfiguration.safeParse({ name: 'r', ...route }).success);
});
