import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { Usage } from '../formats/format.ts';
import { CompiledTable, costMicroUsd, inputCost, priceOf, worstCase } from './compiled-table.ts';
import { renderTable, tableUrl } from './generate-table.ts';
import type { Price } from './price-table.ts';
import { tableFile } from './table-file.ts';

const text = await readFile(tableUrl, 'utf8');
const table = new CompiledTable(tableFile.parse(JSON.parse(text)));
const day = (iso: string): Date => new Date(`${iso}T12:00:00Z`);

const usage = (over: Partial<Usage> = {}): Usage => ({
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  ...over,
});

const find = (provider: string, model: string, at = day('2026-11-22')): Price => {
  const price = table.find(provider, model, at);
  assert.ok(price, `${provider}/${model}`);
  return price;
};

test('[R-prices-generated] the table is what its source says', async () => {
  assert.equal(text, await renderTable());
});

test('models are found by the names that providers give them', () => {
  for (const [provider, model] of [
    ['openai', 'gpt-4.1-mini'],
    ['openai', 'gpt-4o-2024-08-06'],
    ['anthropic', 'claude-sonnet-4-5-20250929'],
    ['google', 'gemini-2.5-flash'],
    ['aws', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'],
    ['azure', 'gpt-4o'],
    ['groq', 'llama-3.3-70b-versatile'],
  ] as const)
    assert.ok(table.find(provider, model, day('2026-11-22')), `${provider}/${model}`);
  assert.equal(table.find('openai', 'no-such-model', day('2026-11-22')), null);
  assert.equal(table.find('no-such-provider', 'gpt-4o', day('2026-11-22')), null);
  assert.match(find('openai', 'gpt-4.1-mini').version, /^\d{4}-\d\d-\d\d:openai\/gpt-4\.1-mini$/);
});

test('a price holds from its day on', () => {
  assert.equal(find('openai', 'o3', day('2025-06-09')).rates.output?.microUsdPerMTok, 40_000_000);
  assert.equal(find('openai', 'o3', day('2025-06-10')).rates.output?.microUsdPerMTok, 8_000_000);
});

test('prices of a time of day hold at that time, across midnight too', () => {
  const rate = (input: number) => ({ rates: { input } });
  const nightly = new CompiledTable({
    date: '2026-01-01',
    source: 'test',
    providers: {
      x: {
        models: [
          {
            id: 'm',
            match: { equals: 'M' },
            prices: [rate(2), { daily: { from: '16:30:00Z', to: '00:30:00Z' }, ...rate(1) }],
          },
        ],
      },
    },
  });
  const at = (time: string) => nightly.find('x', 'm', new Date(`2026-03-01T${time}Z`))?.rates.input?.microUsdPerMTok;
  assert.deepEqual(['16:29:59', '16:30:00', '23:59:59', '00:29:59', '00:30:00'].map(at), [2, 1, 1, 1, 2]);
});

test('each kind of token has its rate, and amounts are rounded up', () => {
  const price = find('anthropic', 'claude-sonnet-4-5');
  // 3, 3.75, 6, 0.3 and 15 dollars a million.
  assert.equal(costMicroUsd(price, usage({ inputTokens: 1_000 })), 3_000n);
  assert.equal(costMicroUsd(price, usage({ cacheWrite5mTokens: 1_000 })), 3_750n);
  assert.equal(costMicroUsd(price, usage({ cacheWrite1hTokens: 1_000 })), 6_000n);
  assert.equal(costMicroUsd(price, usage({ cacheReadTokens: 1_000 })), 300n);
  assert.equal(costMicroUsd(price, usage({ outputTokens: 1_000, reasoningTokens: 600 })), 15_000n);
  assert.equal(costMicroUsd(price, usage({ cacheReadTokens: 1 })), 1n);
  assert.equal(costMicroUsd(price, usage()), 0n);
});

test('what has no rate of its own is charged like input or output', () => {
  const price = priceOf('t', { rates: { input: 1_000_000, output: 2_000_000, inputAudio: 5_000_000 } }, null);
  const all = usage({ inputTokens: 10, cacheReadTokens: 10, cacheWrite5mTokens: 10, cacheWrite1hTokens: 10 });
  assert.equal(costMicroUsd(price, all), 40n);
  assert.equal(costMicroUsd(price, usage({ inputTokens: 10 }), { inputAudioTokens: 4 }), 26n);
  assert.equal(costMicroUsd(price, usage({ inputTokens: 10 }), { inputAudioTokens: 1e9 }), 50n);
  assert.equal(costMicroUsd(price, usage({ outputTokens: 3, reasoningTokens: 2 }), { outputImageTokens: 2 }), 6n);
});

test('a long prompt has the rates of its tier', () => {
  const price = find('openai', 'gpt-5.4');
  assert.equal(costMicroUsd(price, usage({ inputTokens: 271_999 })), 679_998n);
  assert.equal(costMicroUsd(price, usage({ inputTokens: 272_000 })), 1_360_000n);
  assert.equal(costMicroUsd(price, usage({ cacheReadTokens: 271_999, inputTokens: 1 })), 136_005n);
});

test('things that are not tokens have a price too', () => {
  const price = priceOf(
    't',
    { rates: {}, units: { request: 12_000_000_000, image: 40_000_000_000, audioSecond: 1 } },
    null,
  );
  assert.equal(costMicroUsd(price, usage(), { images: 2 }), 92_000n);
  assert.equal(costMicroUsd(find('openai', 'whisper-1'), usage(), { audioSeconds: 60 }), 6_000n);
});

test('no call costs more than its worst case, and none less than nothing', () => {
  const estimate = { inputTokens: 300_000, maxOutputTokens: 1_000, choices: 3 };
  const models = ['gpt-5.4', 'gpt-4.1-mini', 'o3', 'gpt-4o'].map((m) => find('openai', m));
  models.push(find('anthropic', 'claude-sonnet-4-5'), find('google', 'gemini-2.5-pro'));
  let seed = 7;
  const random = (max: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((seed / 2_147_483_648) * (max + 1));
  };
  for (const price of models) {
    const most = worstCase(price, { estimate, outputCap: 1_000 });
    assert.ok(inputCost(price, estimate) <= most);
    for (let i = 0; i < 200; i += 1) {
      const parts = [random(75_000), random(75_000), random(75_000), random(75_000)] as const;
      const used = usage({
        inputTokens: parts[0],
        cacheReadTokens: parts[1],
        cacheWrite5mTokens: parts[2],
        cacheWrite1hTokens: parts[3],
        outputTokens: random(3_000),
      });
      assert.ok(costMicroUsd(price, used) <= most, price.version);
    }
  }
});

test('without a cap an answer may be as long as the context, within reason', () => {
  const estimate = { inputTokens: 0, maxOutputTokens: null, choices: 1 };
  const of = (context: number | null) =>
    worstCase(priceOf('t', { rates: { output: 1_000_000 } }, context), { estimate, outputCap: null });
  assert.deepEqual([of(1_000), of(null), of(2_000_000)], [1_000n, 131_072n, 131_072n]);
});

test('a table that is not one is refused', () => {
  const good = { date: '2026-01-01', source: 'x', providers: {} };
  assert.ok(tableFile.safeParse(good).success);
  const model = (over: object) => ({
    ...good,
    providers: { p: { models: [{ id: 'm', match: { equals: 'm' }, prices: [{ rates: { input: 1 } }], ...over }] } },
  });
  assert.ok(tableFile.safeParse(model({})).success);
  for (const bad of [
    { ...good, date: 'yesterday' },
    model({ match: {} }),
    model({ match: { equals: 'm', contains: 'n' } }),
    model({ match: { regex: '(' } }),
    model({ prices: [] }),
    model({ prices: [{ rates: { input: -1 } }] }),
    model({ prices: [{ rates: { input: 1.5 } }] }),
    model({ prices: [{ rates: { tea: 1 } }] }),
  ])
    assert.ok(!tableFile.safeParse(bad).success, JSON.stringify(bad));
});
