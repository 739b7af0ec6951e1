/**
 * US dollars per million tokens, which is millionths of a dollar per token. Standard processing, not batch or flex.
 * Source: https://developers.openai.com/api/docs/pricing, as quoted by third parties; last compared on 2026-11-22.
 * Prices change: a model that is not here, or a prompt longer than the price holds for, has no cost rather than a
 * wrong one.
 */
interface Price {
  readonly input: number;
  readonly cachedInput: number;
  readonly output: number;
  /** Longest prompt in tokens for which this price holds. */
  readonly maxInputTokens?: number;
}

export const pricesAsOf = '2026-11-22';

const prices: ReadonlyMap<string, Price> = new Map([
  ['gpt-4o', { input: 2.5, cachedInput: 1.25, output: 10 }],
  ['gpt-4o-mini', { input: 0.15, cachedInput: 0.075, output: 0.6 }],
  ['gpt-4.1', { input: 2, cachedInput: 0.5, output: 8 }],
  ['gpt-4.1-mini', { input: 0.4, cachedInput: 0.1, output: 1.6 }],
  ['gpt-4.1-nano', { input: 0.1, cachedInput: 0.025, output: 0.4 }],
  ['gpt-5', { input: 1.25, cachedInput: 0.125, output: 10 }],
  ['gpt-5-mini', { input: 0.25, cachedInput: 0.025, output: 2 }],
  ['gpt-5-nano', { input: 0.05, cachedInput: 0.005, output: 0.4 }],
  ['gpt-5.4', { input: 2.5, cachedInput: 0.25, output: 15, maxInputTokens: 272_000 }],
  ['gpt-5.4-mini', { input: 0.75, cachedInput: 0.075, output: 4.5 }],
  ['gpt-5.4-nano', { input: 0.2, cachedInput: 0.02, output: 1.25 }],
  ['gpt-5.5', { input: 5, cachedInput: 0.5, output: 30, maxInputTokens: 272_000 }],
]);

export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Part of `inputTokens`. */
  readonly cachedTokens: number;
}

/**
 * Cost in whole millionths of a dollar, rounded half up; null when the price is not known. A dated snapshot such as
 * `gpt-4.1-mini-2025-04-14` costs what its family does.
 */
export const costMicroUsd = (model: string, usage: Usage): number | null => {
  const price = prices.get(model) ?? prices.get(model.replace(/-\d{4}-\d{2}-\d{2}$/, ''));
  if (price === undefined) return null;
  if (price.maxInputTokens !== undefined && usage.inputTokens > price.maxInputTokens) return null;
  const cached = Math.min(usage.cachedTokens, usage.inputTokens);
  // In thousandths of a micro-dollar every price is a whole number, so the sum is exact.
  const nano = (perToken: number, tokens: number): number => Math.round(perToken * 1_000) * tokens;
  const sum =
    nano(price.input, usage.inputTokens - cached) +
    nano(price.cachedInput, cached) +
    nano(price.output, usage.outputTokens);
  return Math.floor((sum + 500) / 1_000);
};
