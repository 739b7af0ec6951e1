import type { Format, JsonObject, Usage } from './format.ts';
import { isObject, type JsonDraft } from './json-value.ts';

const noUsage: Usage = {
  inputTokens: 0,
  cacheReadTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
};

/** Counts beyond this are a provider's mistake; the sum of a few still is a safe integer. */
const maxTokens = 1e12;

const count = (value: unknown): number =>
  typeof value === 'number' && value > 0 ? Math.min(Math.ceil(value), maxTokens) : 0;

const member = (object: JsonObject, key: string): JsonObject => {
  const value = object[key];
  return isObject(value) ? value : {};
};

/**
 * Both formats of OpenAI, whose input includes what was read from and written to the cache. Servers that imitate them
 * leave reasoning out of the output, and show it in the total only: the larger figure is the true one.
 */
const openAiUsage = (usage: JsonObject, input: 'prompt' | 'input', output: 'completion' | 'output'): Usage => {
  const all = count(usage[`${input}_tokens`]);
  const details = member(usage, `${input}_tokens_details`);
  const read = Math.min(all, count(details.cached_tokens ?? usage.prompt_cache_hit_tokens));
  const written = Math.min(all - read, count(details.cache_write_tokens));
  const long = Math.min(written, count(member(details, 'cache_write_tokens_details').ttl_12h_tokens));
  const outputTokens = Math.max(count(usage[`${output}_tokens`]), count(usage.total_tokens) - all);
  return {
    inputTokens: all - read - written,
    cacheReadTokens: read,
    cacheWrite5mTokens: written - long,
    cacheWrite1hTokens: long,
    outputTokens,
    reasoningTokens: Math.min(outputTokens, count(member(usage, `${output}_tokens_details`).reasoning_tokens)),
  };
};

/** Anthropic's input leaves the cache out. Its streams give the input first and the output last. */
export const anthropicUsage = (usage: JsonObject, earlier: Usage = noUsage): Usage => {
  const own = (key: string, before: number): number =>
    usage[key] === undefined || usage[key] === null ? before : count(usage[key]);
  const written = own('cache_creation_input_tokens', earlier.cacheWrite5mTokens + earlier.cacheWrite1hTokens);
  const creation = usage.cache_creation;
  const long = isObject(creation) ? count(creation.ephemeral_1h_input_tokens) : earlier.cacheWrite1hTokens;
  const outputTokens = own('output_tokens', earlier.outputTokens);
  const thinking = usage.output_tokens_details;
  return {
    inputTokens: own('input_tokens', earlier.inputTokens),
    cacheReadTokens: own('cache_read_input_tokens', earlier.cacheReadTokens),
    cacheWrite5mTokens: Math.max(0, written - long),
    cacheWrite1hTokens: long,
    outputTokens,
    reasoningTokens: isObject(thinking)
      ? Math.min(outputTokens, count(thinking.thinking_tokens))
      : earlier.reasoningTokens,
  };
};

/** Gemini's prompt includes the cache, and its candidates leave the thoughts out. */
const geminiUsage = (usage: JsonObject): Usage => {
  const prompt = count(usage.promptTokenCount);
  const read = Math.min(prompt, count(usage.cachedContentTokenCount));
  const thoughts = count(usage.thoughtsTokenCount);
  return {
    ...noUsage,
    inputTokens: prompt - read + count(usage.toolUsePromptTokenCount),
    cacheReadTokens: read,
    outputTokens: count(usage.candidatesTokenCount) + thoughts,
    reasoningTokens: thoughts,
  };
};

/** Usage out of the member of an answer that holds it; null when that is no object. */
export const readUsage = (format: Format, usage: unknown): Usage | null => {
  if (!isObject(usage)) return null;
  if (format === 'anthropic') return anthropicUsage(usage);
  if (format === 'gemini') return geminiUsage(usage);
  return format === 'openai-chat' ? openAiUsage(usage, 'prompt', 'completion') : openAiUsage(usage, 'input', 'output');
};

const allInput = (usage: Usage): number =>
  usage.inputTokens + usage.cacheReadTokens + usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;

export const chatUsage = (usage: Usage): JsonObject => ({
  prompt_tokens: allInput(usage),
  completion_tokens: usage.outputTokens,
  total_tokens: allInput(usage) + usage.outputTokens,
  prompt_tokens_details: {
    cached_tokens: usage.cacheReadTokens,
    ...(usage.cacheWrite5mTokens + usage.cacheWrite1hTokens > 0
      ? { cache_write_tokens: usage.cacheWrite5mTokens + usage.cacheWrite1hTokens }
      : {}),
  },
  completion_tokens_details: { reasoning_tokens: usage.reasoningTokens },
});

export const responsesUsage = (usage: Usage): JsonObject => ({
  input_tokens: allInput(usage),
  input_tokens_details: {
    cached_tokens: usage.cacheReadTokens,
    cache_write_tokens: usage.cacheWrite5mTokens + usage.cacheWrite1hTokens,
  },
  output_tokens: usage.outputTokens,
  output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  total_tokens: allInput(usage) + usage.outputTokens,
});

export const messagesUsage = (usage: Usage): JsonObject => ({
  input_tokens: usage.inputTokens,
  cache_creation_input_tokens: usage.cacheWrite5mTokens + usage.cacheWrite1hTokens,
  cache_read_input_tokens: usage.cacheReadTokens,
  cache_creation: {
    ephemeral_5m_input_tokens: usage.cacheWrite5mTokens,
    ephemeral_1h_input_tokens: usage.cacheWrite1hTokens,
  },
  output_tokens: usage.outputTokens,
  ...(usage.reasoningTokens > 0 ? { output_tokens_details: { thinking_tokens: usage.reasoningTokens } } : {}),
});

export const geminiUsageMetadata = (usage: Usage): JsonObject => {
  const metadata: JsonDraft = {
    promptTokenCount: allInput(usage),
    candidatesTokenCount: usage.outputTokens - usage.reasoningTokens,
    totalTokenCount: allInput(usage) + usage.outputTokens,
  };
  if (usage.cacheReadTokens > 0) metadata.cachedContentTokenCount = usage.cacheReadTokens;
  if (usage.reasoningTokens > 0) metadata.thoughtsTokenCount = usage.reasoningTokens;
  return metadata;
};

export const zeroUsage = noUsage;
