import type { Estimate, Usage } from '../formats/format.ts';

/** What a quantity costs: `rate` from the first one on, and from prompts longer than `above` tokens on another one. */
export interface Rate {
  /** Micro-dollars for a million tokens, always whole. */
  readonly microUsdPerMTok: number;
  /** Rising bounds: the last one that the prompt (all input of the call together) exceeds holds for the whole call. */
  readonly tiers: readonly { readonly above: number; readonly microUsdPerMTok: number }[];
}

/** Kinds of tokens that may have a rate of their own; one that has none is charged like `input` or `output`. */
export const rateNames = [
  'input',
  'cacheRead',
  'cacheWrite5m',
  'cacheWrite1h',
  'output',
  'reasoning',
  'inputAudio',
  'inputImage',
  'outputAudio',
  'outputImage',
] as const;
export type RateName = (typeof rateNames)[number];

/** Things that are not tokens. */
export const unitNames = ['request', 'image', 'audioSecond', 'character'] as const;
export type UnitName = (typeof unitNames)[number];

/** The price of one model of one provider at one time. */
export interface Price {
  /** Which table and entry it is of, such as `2026-11-22:openai/gpt-4.1-mini`; the ledger keeps it. At most 256 characters. */
  readonly version: string;
  readonly rates: Readonly<Partial<Record<RateName, Rate>>>;
  /** Micro-dollars for a million of each, always whole. */
  readonly units: Readonly<Partial<Record<UnitName, number>>>;
  /** Longest prompt and answer together, in tokens; null when the table does not know. */
  readonly contextTokens: number | null;
}

/** What an attempt used beside text tokens. What is left out is zero. */
export interface OtherUsage {
  /** Parts of the input and output tokens that may have rates of their own. */
  readonly inputAudioTokens?: number;
  readonly inputImageTokens?: number;
  readonly outputAudioTokens?: number;
  readonly outputImageTokens?: number;
  readonly images?: number;
  readonly audioSeconds?: number;
  readonly characters?: number;
}

export interface WorstCaseInput {
  readonly estimate: Estimate;
  /**
   * Most tokens of one answer, reasoning included; null when neither the request nor the route sets a cap. Then the
   * context of the model counts, but no more than `defaultOutputTokens`.
   */
  readonly outputCap: number | null;
  readonly other?: OtherUsage;
}

/**
 * Prices of one workspace: its overrides first, then the table. Amounts are whole micro-dollars, rounded up, so that a
 * call that used anything is never free. All methods are synchronous and touch nothing but memory.
 */
export interface PriceTable {
  /** Null: the model has no price, and a call under a hard budget is refused. */
  find(provider: string, model: string, at: Date): Price | null;
  /** What was used at that price. */
  costMicroUsd(price: Price, usage: Usage, other?: OtherUsage): bigint;
  /** No call with this estimate and cap costs more: input at its dearest rate, every choice as long as its cap. */
  worstCase(price: Price, input: WorstCaseInput): bigint;
  /** The estimated input alone at its plain rate: what a call costs at least that nobody lived to settle. */
  inputCost(price: Price, estimate: Estimate): bigint;
}

/** Longest answer that is reckoned with when no cap is set: no model that the table knows writes more. */
export const defaultOutputTokens = 131_072;

/** Prices of all workspaces. */
export interface Prices {
  /** Errors: `budget.unavailable` when the overrides of the workspace cannot be read. */
  forWorkspace(workspaceId: string): Promise<PriceTable>;
  /** Reads the file with the table again, if there is one. @returns the date and source of the table now in force */
  reload(): Promise<{ readonly date: string; readonly source: string }>;
  close(): Promise<void>;
}
