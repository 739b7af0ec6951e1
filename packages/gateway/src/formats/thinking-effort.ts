import type { Effort } from './neutral.ts';

const efforts: readonly Effort[] = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'];

export const isEffort = (value: unknown): value is Effort => efforts.some((effort) => effort === value);

/**
 * Tokens of thought that an effort stands for at models that take a number only: the table of Gemini's own endpoint in
 * OpenAI's format, and beyond it twice and four times as much.
 * https://ai.google.dev/gemini-api/docs/openai#thinking
 */
const budgets: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 1_024,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 32_768,
  max: 65_536,
};

export const budgetOf = (effort: Effort): number => budgets[effort];

/** The effort whose budget is nearest to a number of tokens from above. */
export const effortOf = (budgetTokens: number): Effort => {
  if (budgetTokens === 0) return 'none';
  if (budgetTokens <= 2_048) return 'low';
  return budgetTokens <= 12_288 ? 'medium' : 'high';
};

/** Models of Anthropic that take a number of tokens and no effort. */
export const takesBudget = (model: string): boolean =>
  /claude-(3|instant|2)|claude-(opus|sonnet|haiku)-4(-[0-5])?(?![-.]?[6-9])(?=$|[-@:.])/.test(model);

/** Models of Gemini that take a number of tokens and no level. */
export const takesThinkingBudget = (model: string): boolean => /gemini-[12]([.-]|$)/.test(model);
