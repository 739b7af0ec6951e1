import { z } from 'zod';
import type { Usage } from './prices.ts';

const tokens = z.number().int().min(0).max(1_000_000_000);
const usage = z.looseObject({
  prompt_tokens: tokens,
  completion_tokens: tokens.nullish(),
  prompt_tokens_details: z.looseObject({ cached_tokens: tokens.nullish() }).nullish(),
});

/** A whole answer or one chunk of a stream, as far as the gateway reads it. Providers differ in all the rest. */
const chatDocument = z.looseObject({
  model: z.string().max(512).optional(),
  choices: z
    .array(
      z.looseObject({
        delta: z.looseObject({}).nullish(),
        finish_reason: z.unknown().optional(),
      }),
    )
    .nullish(),
  usage: z.unknown().optional(),
  error: z.unknown().optional(),
});

export interface ChatFacts {
  readonly model: string | null;
  readonly usage: Usage | null;
  /** It carries something the caller would show or act on. */
  readonly hasContent: boolean;
  readonly finished: boolean;
  /** A chunk that only tells usage. */
  readonly onlyUsage: boolean;
  readonly isError: boolean;
}

const usageOf = (value: unknown): Usage | null => {
  const parsed = usage.safeParse(value);
  if (!parsed.success) return null;
  return {
    inputTokens: parsed.data.prompt_tokens,
    outputTokens: parsed.data.completion_tokens ?? 0,
    cachedTokens: parsed.data.prompt_tokens_details?.cached_tokens ?? 0,
  };
};

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0);

/** Reads one document; null when it is not one. */
export const readChatDocument = (text: string): ChatFacts | null => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = chatDocument.safeParse(json);
  if (!parsed.success) return null;
  const document = parsed.data;
  const choices = document.choices ?? [];
  const used = usageOf(document.usage);
  return {
    model: document.model ?? null,
    usage: used,
    hasContent: choices.some((c) => Object.entries(c.delta ?? {}).some(([key, v]) => key !== 'role' && !isEmpty(v))),
    finished: choices.some((c) => !isEmpty(c.finish_reason)),
    onlyUsage: used !== null && choices.length === 0,
    isError: !isEmpty(document.error),
  };
};
