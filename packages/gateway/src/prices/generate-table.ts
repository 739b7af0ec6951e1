/**
 * Writes `packages/gateway/prices/table.json` from the package `@pydantic/genai-prices`: `node
 * packages/gateway/src/prices/generate-table.ts`. A test fails when the file differs from what this makes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { argv, stdout } from 'node:process';
import { fileURLToPath } from 'node:url';
import {
  type ConditionalPrice,
  findProvider,
  type ModelInfo,
  type ModelPrice,
  type Provider,
} from '@pydantic/genai-prices';
import { z } from 'zod';
import type { RateName, UnitName } from './price-table.ts';
import {
  type DatedPrice,
  type Match,
  type PricedModel,
  type RateText,
  type TableFile,
  tableFile,
} from './table-file.ts';

/** When the version of the package that is pinned was published. */
const publishedOn: Readonly<Record<string, string>> = { '0.1.8': '2026-09-23' };

const providerIds = [
  'anthropic',
  'avian',
  'aws',
  'azure',
  'baseten',
  'cerebras',
  'cohere',
  'deepseek',
  'fireworks',
  'google',
  'groq',
  'minimax',
  'mistral',
  'moonshotai',
  'novita',
  'openai',
  'openrouter',
  'ovhcloud',
  'perplexity',
  'together',
  'voyageai',
  'x-ai',
  'zai',
];

const rateKeys: Readonly<Record<string, RateName>> = {
  input_mtok: 'input',
  cache_read_mtok: 'cacheRead',
  cache_write_mtok: 'cacheWrite5m',
  cache_write_1h_mtok: 'cacheWrite1h',
  output_mtok: 'output',
  output_reasoning_mtok: 'reasoning',
  input_audio_mtok: 'inputAudio',
  input_image_mtok: 'inputImage',
  output_audio_mtok: 'outputAudio',
  output_image_mtok: 'outputImage',
};

/** And how many of the unit the price is for. */
const unitKeys: Readonly<Record<string, { readonly unit: UnitName; readonly per: number }>> = {
  requests_kcount: { unit: 'request', per: 1_000 },
  input_audio_hours: { unit: 'audioSecond', per: 3_600 },
};

/** Whole micro-dollars for a million; up, so that a fraction is never given away. The subtraction undoes what binary fractions add. */
const perMillion = (dollars: number, per: number): number => Math.ceil((dollars * 1e12) / per - 1e-3);

const rateText = (key: string, value: NonNullable<ModelPrice[string]>): RateText => {
  if (typeof value === 'number') return perMillion(value, 1e6);
  const tiers = value.tiers.map(({ start, price }) => ({ above: start, price: perMillion(price, 1e6) }));
  if (!tiers.every(({ above }, i) => above > (tiers[i - 1]?.above ?? -1))) throw new Error(`${key}: tiers do not rise`);
  return { base: perMillion(value.base, 1e6), tiers };
};

const datedPrice = ({ constraint, prices }: ConditionalPrice): DatedPrice => {
  const rates: Partial<Record<RateName, RateText>> = {};
  const units: Partial<Record<UnitName, number>> = {};
  for (const [key, value] of Object.entries(prices)) {
    if (value === undefined) continue;
    const rate = rateKeys[key];
    if (rate !== undefined) rates[rate] = rateText(key, value);
    const unit = unitKeys[key];
    if (unit !== undefined && typeof value === 'number') units[unit.unit] = perMillion(value, unit.per);
  }
  return {
    ...(constraint?.type === 'start_date' ? { from: constraint.start_date } : {}),
    ...(constraint?.type === 'time_of_date' ? { daily: { from: constraint.start_time, to: constraint.end_time } } : {}),
    rates,
    ...(Object.keys(units).length > 0 ? { units } : {}),
  };
};

const matchOf = (match: ModelInfo['match']): Match => {
  if ('or' in match) return { or: match.or.map(matchOf) };
  if ('and' in match) return { and: match.and.map(matchOf) };
  return match;
};

const pricedModel = (model: ModelInfo): PricedModel | null => {
  const conditional = Array.isArray(model.prices) ? model.prices : [{ prices: model.prices }];
  const prices = conditional.map(datedPrice);
  // Sold by the page or the search only, which no endpoint of the gateway counts: it has no price here.
  if (prices.every(({ rates, units }) => Object.keys(rates).length === 0 && units === undefined)) return null;
  const { id, context_window: contextTokens } = model;
  return { id, match: matchOf(model.match), ...(contextTokens === undefined ? {} : { contextTokens }), prices };
};

const pricedProvider = ({ models, fallback_model_providers: fallbacks }: Provider): TableFile['providers'][string] => ({
  ...(fallbacks === undefined ? {} : { fallbacks }),
  models: models.map(pricedModel).filter((model) => model !== null),
});

export const tableUrl = new URL('../../prices/table.json', import.meta.url);

/** The table as text: one model a line, so that a change of a price is a change of a line. */
export const renderTable = async (): Promise<string> => {
  const manifest = new URL('../package.json', import.meta.resolve('@pydantic/genai-prices'));
  const { version } = z.object({ version: z.string() }).parse(JSON.parse(await readFile(manifest, 'utf8')));
  const date = publishedOn[version];
  if (date === undefined) throw new Error(`generate-table.ts does not know when version ${version} was published`);
  const found = providerIds.map((providerId) => {
    const provider = findProvider({ providerId });
    if (provider?.id !== providerId) throw new Error(`there is no provider ${providerId}`);
    return [providerId, pricedProvider(provider)] as const;
  });
  const table: TableFile = { date, source: `@pydantic/genai-prices ${version}`, providers: Object.fromEntries(found) };
  tableFile.parse(table);
  const lines = found.map(([id, { fallbacks, models }]) => {
    const head = fallbacks === undefined ? '' : `"fallbacks":${JSON.stringify(fallbacks)},`;
    return `${JSON.stringify(id)}:{${head}"models":[\n${models.map((m) => JSON.stringify(m)).join(',\n')}\n]}`;
  });
  return `{"date":${JSON.stringify(date)},"source":${JSON.stringify(table.source)},"providers":{\n${lines.join(',\n')}\n}}\n`;
};

if (import.meta.main) {
  await writeFile(tableUrl, await renderTable());
  stdout.write(`${argv[1] ?? ''}: ${fileURLToPath(tableUrl)} is written.\n`);
}
