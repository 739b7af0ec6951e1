import type { Estimate, Usage } from '../formats/format.ts';
import { matcherOf } from './model-match.ts';
import {
  defaultOutputTokens,
  type OtherUsage,
  type Price,
  type PriceTable,
  type Rate,
  type RateName,
  rateNames,
  type WorstCaseInput,
} from './price-table.ts';
import type { DatedPrice, PricedModel, RateText, TableFile } from './table-file.ts';

interface CompiledPrice {
  readonly fromMs: number;
  readonly daily: { readonly from: string; readonly to: string } | null;
  readonly price: Price;
}

interface CompiledModel {
  readonly matches: (model: string) => boolean;
  /** Later ones win. */
  readonly prices: readonly CompiledPrice[];
}

interface CompiledProvider {
  readonly models: readonly CompiledModel[];
  readonly fallbacks: readonly string[];
}

/** Names looked up are remembered; callers choose them, so not without end. */
const maxRemembered = 10_000;

export const rateOf = (text: RateText): Rate =>
  typeof text === 'number'
    ? { microUsdPerMTok: text, tiers: [] }
    : { microUsdPerMTok: text.base, tiers: text.tiers.map((t) => ({ above: t.above, microUsdPerMTok: t.price })) };

export const priceOf = (
  version: string,
  { rates, units = {} }: Pick<DatedPrice, 'rates' | 'units'>,
  contextTokens: number | null,
): Price => {
  const compiled: Partial<Record<RateName, Rate>> = {};
  for (const name of rateNames) {
    const text = rates[name];
    if (text !== undefined) compiled[name] = rateOf(text);
  }
  return { version: version.slice(0, 256), rates: compiled, units: { ...units }, contextTokens };
};

const timeOfDay = (at: Date): string => at.toISOString().slice(11, 19);

const isInForce = ({ fromMs, daily }: CompiledPrice, at: Date): boolean => {
  if (at.getTime() < fromMs) return false;
  if (daily === null) return true;
  const time = timeOfDay(at);
  const [from, to] = [daily.from.slice(0, 8), daily.to.slice(0, 8)];
  return from <= to ? time >= from && time < to : time >= from || time < to;
};

/** The table of a file, ready for lookups by provider and model. */
export class CompiledTable {
  readonly date: string;
  readonly source: string;
  readonly #providers = new Map<string, CompiledProvider>();
  readonly #remembered = new Map<string, CompiledModel | null>();

  constructor(file: TableFile) {
    this.date = file.date;
    this.source = file.source;
    for (const [id, { models, fallbacks = [] }] of Object.entries(file.providers))
      this.#providers.set(id, { fallbacks, models: models.map((model) => this.#compile(id, model)) });
  }

  find(provider: string, model: string, at: Date): Price | null {
    const key = `${provider} ${model}`;
    let found = this.#remembered.get(key);
    if (found === undefined) {
      found = this.#search(provider, model.toLowerCase());
      if (this.#remembered.size >= maxRemembered) this.#remembered.clear();
      this.#remembered.set(key, found);
    }
    return found?.prices.findLast((price) => isInForce(price, at))?.price ?? null;
  }

  #search(provider: string, model: string): CompiledModel | null {
    const { models, fallbacks } = this.#providers.get(provider) ?? { models: [], fallbacks: [] };
    const own = models.find(({ matches }) => matches(model));
    if (own !== undefined) return own;
    for (const id of fallbacks) {
      const other = this.#providers.get(id)?.models.find(({ matches }) => matches(model));
      if (other !== undefined) return other;
    }
    return null;
  }

  #compile(provider: string, { id, match, contextTokens, prices }: PricedModel): CompiledModel {
    return {
      matches: matcherOf(match),
      prices: prices.map((dated) => {
        const since = dated.from === undefined ? '' : `@${dated.from}`;
        return {
          fromMs: dated.from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(dated.from),
          daily: dated.daily ?? null,
          price: priceOf(`${this.date}:${provider}/${id}${since}`, dated, contextTokens ?? null),
        };
      }),
    };
  }
}

const million = 1_000_000n;

/** Micro-dollars for sums in millionths of them, rounded up. */
const roundUp = (sum: bigint): bigint => (sum + million - 1n) / million;

const rateFor = (rate: Rate | undefined, promptTokens: number): number => {
  if (rate === undefined) return 0;
  let micro = rate.microUsdPerMTok;
  for (const tier of rate.tiers) if (promptTokens > tier.above) micro = tier.microUsdPerMTok;
  return micro;
};

/** Tokens and quantities come from providers and callers: fractions count as whole, and what is no count as none. */
const times = (quantity: number | undefined, microPerMillion: number): bigint =>
  quantity === undefined || !(quantity > 0) || !Number.isFinite(quantity) || microPerMillion === 0
    ? 0n
    : BigInt(Math.ceil(quantity)) * BigInt(microPerMillion);

const unitsCost = ({ units }: Price, other: OtherUsage): bigint =>
  times(1, units.request ?? 0) +
  times(other.images, units.image ?? 0) +
  times(other.audioSeconds, units.audioSecond ?? 0) +
  times(other.characters, units.character ?? 0);

export const costMicroUsd = (price: Price, usage: Usage, other: OtherUsage = {}): bigint => {
  const { rates } = price;
  const { inputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens, outputTokens } = usage;
  const prompt = inputTokens + cacheReadTokens + cacheWrite5mTokens + cacheWrite1hTokens;
  const of = (rate: Rate | undefined): number => rateFor(rate, prompt);
  // A part has its own rate only where the price names one; never more than the whole.
  const part = (rate: Rate | undefined, tokens: number | undefined, whole: number): number =>
    rate === undefined ? 0 : Math.min(Math.max(tokens ?? 0, 0), whole);
  const inAudio = part(rates.inputAudio, other.inputAudioTokens, inputTokens);
  const inImage = part(rates.inputImage, other.inputImageTokens, inputTokens - inAudio);
  const outAudio = part(rates.outputAudio, other.outputAudioTokens, outputTokens);
  const outImage = part(rates.outputImage, other.outputImageTokens, outputTokens - outAudio);
  const thought = part(rates.reasoning, usage.reasoningTokens, outputTokens - outAudio - outImage);
  const write5m = rates.cacheWrite5m ?? rates.input;
  return roundUp(
    times(inputTokens - inAudio - inImage, of(rates.input)) +
      times(inAudio, of(rates.inputAudio)) +
      times(inImage, of(rates.inputImage)) +
      times(cacheReadTokens, of(rates.cacheRead ?? rates.input)) +
      times(cacheWrite5mTokens, of(write5m)) +
      times(cacheWrite1hTokens, of(rates.cacheWrite1h ?? write5m)) +
      times(outputTokens - outAudio - outImage - thought, of(rates.output)) +
      times(outAudio, of(rates.outputAudio)) +
      times(outImage, of(rates.outputImage)) +
      times(thought, of(rates.reasoning)) +
      unitsCost(price, other),
  );
};

const inputRates = ['input', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h', 'inputAudio', 'inputImage'] as const;
const outputRates = ['output', 'reasoning', 'outputAudio', 'outputImage'] as const;

/** The dearest that a prompt of at most so many tokens can be charged: a shorter one may fall into a dearer tier. */
const dearest = (price: Price, names: readonly RateName[], promptTokens: number): number => {
  let most = 0;
  for (const name of names) {
    const rate = price.rates[name];
    if (rate === undefined) continue;
    most = Math.max(most, rate.microUsdPerMTok);
    for (const tier of rate.tiers) if (promptTokens > tier.above) most = Math.max(most, tier.microUsdPerMTok);
  }
  return most;
};

const outputTokensOf = (price: Price, { outputCap, estimate }: WorstCaseInput): number => {
  const cap = outputCap ?? Math.min(price.contextTokens ?? defaultOutputTokens, defaultOutputTokens);
  return Math.max(cap, 0) * Math.max(estimate.choices, 1);
};

export const worstCase = (price: Price, input: WorstCaseInput): bigint => {
  const { inputTokens } = input.estimate;
  return roundUp(
    times(inputTokens, dearest(price, inputRates, inputTokens)) +
      times(outputTokensOf(price, input), dearest(price, outputRates, inputTokens)) +
      unitsCost(price, input.other ?? {}),
  );
};

export const inputCost = (price: Price, { inputTokens }: Estimate): bigint =>
  roundUp(times(inputTokens, rateFor(price.rates.input, inputTokens)) + times(1, price.units.request ?? 0));

/** A table with the overrides of one workspace before it. */
export const priceTable = (find: PriceTable['find']): PriceTable => ({ find, costMicroUsd, worstCase, inputCost });
