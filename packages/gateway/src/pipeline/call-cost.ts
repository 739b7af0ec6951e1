import type { Estimate, Usage } from '../formats/format.ts';
import type { AttemptRecord, UsageSource } from '../ledger/ledger.ts';
import type { OtherUsage, Price, PriceTable } from '../prices/price-table.ts';
import type { Target } from '../routing/target.ts';

/** When neither the request nor the model says how long an answer can get. */
const unknownOutputTokens = 131_072;

/** Upper bounds of a call over all targets that may get it. */
export interface WorstCase {
  /**
   * The dearest target, and its input once more for each other one: an attempt that fails before its first content may
   * have been read, and paid for, all the same. Null when one of them has no price.
   */
  readonly microUsd: bigint | null;
  /** The estimated input at the dearest target. */
  readonly inputMicroUsd: bigint;
  readonly tokens: number;
}

/** Which prices hold for one call, and what its attempts cost. */
export class CallCost {
  readonly #prices: PriceTable;
  readonly #at: Date;
  readonly #estimate: Estimate;
  readonly #other: OtherUsage;
  readonly #isFree: boolean;
  #priced: { readonly target: Target; readonly price: Price | null } | null = null;

  /** `isFree` for calls that no provider bills, such as counting tokens. */
  constructor(prices: PriceTable, at: Date, estimate: Estimate, other: OtherUsage, isFree: boolean) {
    this.#prices = prices;
    this.#at = at;
    this.#estimate = estimate;
    this.#other = other;
    this.#isFree = isFree;
  }

  /** The estimated input. */
  get inputTokens(): number {
    return this.#isFree ? 0 : this.#estimate.inputTokens;
  }

  priceOf(target: Target): Price | null {
    // Asked for several times in a call, mostly of the same target.
    if (this.#priced?.target === target) return this.#priced.price;
    const price = this.#prices.find(target.provider.priceProvider, target.model, this.#at);
    this.#priced = { target, price };
    return price;
  }

  /** The most that one attempt at this target costs; null when it has no price. */
  most(target: Target): bigint | null {
    if (target.provider.recorded || this.#isFree) return 0n;
    const price = this.priceOf(target);
    if (price === null) return null;
    const { maxOutputTokens: outputCap } = this.#estimate;
    return this.#prices.worstCase(price, { estimate: this.#estimate, outputCap, other: this.#other });
  }

  worstCase(targets: readonly Target[]): WorstCase {
    if (this.#isFree) return { microUsd: 0n, inputMicroUsd: 0n, tokens: 0 };
    const { inputTokens, maxOutputTokens, choices } = this.#estimate;
    let microUsd: bigint | null = 0n;
    let inputMicroUsd = 0n;
    let outputTokens = maxOutputTokens ?? 0;
    for (const target of targets) {
      const most = this.most(target);
      if (most === null || microUsd === null) microUsd = null;
      else if (most > microUsd) microUsd = most;
      const price = target.provider.recorded ? null : this.priceOf(target);
      if (maxOutputTokens === null) outputTokens = Math.max(outputTokens, price?.contextTokens ?? unknownOutputTokens);
      const input = price === null ? 0n : this.#prices.inputCost(price, this.#estimate);
      if (input > inputMicroUsd) inputMicroUsd = input;
    }
    if (microUsd !== null) microUsd += inputMicroUsd * BigInt(targets.length - 1);
    return { microUsd, inputMicroUsd, tokens: inputTokens + outputTokens * Math.max(1, choices) };
  }

  /** By the model that answered, since a name such as `latest` or a recording's has no price. */
  charge(
    target: Target,
    responseModel: string | null,
    usage: Usage | null,
    other: OtherUsage,
  ): { readonly price: Price | null; readonly microUsd: bigint | null } {
    const { priceProvider } = target.provider;
    const answered = responseModel === null ? null : this.#prices.find(priceProvider, responseModel, this.#at);
    const price = answered ?? this.priceOf(target);
    if (this.#isFree) return { price, microUsd: 0n };
    if (usage === null && Object.keys(other).length === 0) return { price, microUsd: null };
    return {
      price,
      microUsd: price === null ? null : this.#prices.costMicroUsd(price, usage ?? nothing, other),
    };
  }

  /**
   * What a provider most likely counted when it did not say: a third of the upper bound, which is one token a byte, for
   * the input; and one token for each event that carried content, or what it said so far, for the output.
   */
  likelyUsage(told: Usage | null, contentEvents: number): { readonly usage: Usage; readonly source: UsageSource } {
    const likelyInput = Math.max(1, Math.ceil(this.#estimate.inputTokens / 3));
    const base = told ?? { ...nothing, inputTokens: likelyInput };
    return { usage: { ...base, outputTokens: Math.max(base.outputTokens, contentEvents) }, source: 'estimated' };
  }
}

const nothing: Usage = {
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
};

/** What attempts cost together; unpriced ones count as nothing. */
export const sumMicroUsd = (attempts: readonly AttemptRecord[]): bigint =>
  attempts.reduce((sum, { costMicroUsd }) => sum + (costMicroUsd ?? 0n), 0n);
