import type { Format } from './format.ts';
import type { Members } from './json-value.ts';
import type { Losses } from './losses.ts';
import type { Options } from './neutral.ts';

type NumberOption =
  | 'maxOutputTokens'
  | 'temperature'
  | 'topP'
  | 'topK'
  | 'seed'
  | 'frequencyPenalty'
  | 'presencePenalty'
  | 'choices'
  | 'topLogprobs';
type TextOption = 'user' | 'serviceTier' | 'verbosity' | 'cacheKey';
type FlagOption = 'logprobs' | 'parallelCalls';
export type Option = NumberOption | TextOption | FlagOption | 'metadata';

/**
 * Where each format has which plain setting. One that a format does not have, it cannot carry. Settings that stand
 * deeper than one level, or mean something else, are read and written by the format's own code and stand here only
 * so that they can be named.
 */
const names: Readonly<Record<Format, Partial<Readonly<Record<Option, string>>>>> = {
  'openai-chat': {
    maxOutputTokens: 'max_completion_tokens',
    temperature: 'temperature',
    topP: 'top_p',
    seed: 'seed',
    frequencyPenalty: 'frequency_penalty',
    presencePenalty: 'presence_penalty',
    choices: 'n',
    logprobs: 'logprobs',
    topLogprobs: 'top_logprobs',
    parallelCalls: 'parallel_tool_calls',
    user: 'user',
    serviceTier: 'service_tier',
    verbosity: 'verbosity',
    cacheKey: 'prompt_cache_key',
    metadata: 'metadata',
  },
  'openai-responses': {
    maxOutputTokens: 'max_output_tokens',
    temperature: 'temperature',
    topP: 'top_p',
    topLogprobs: 'top_logprobs',
    parallelCalls: 'parallel_tool_calls',
    user: 'user',
    serviceTier: 'service_tier',
    verbosity: 'text.verbosity',
    cacheKey: 'prompt_cache_key',
    metadata: 'metadata',
  },
  anthropic: {
    maxOutputTokens: 'max_tokens',
    temperature: 'temperature',
    topP: 'top_p',
    topK: 'top_k',
    parallelCalls: 'tool_choice.disable_parallel_tool_use',
    user: 'metadata.user_id',
    serviceTier: 'service_tier',
  },
  gemini: {
    maxOutputTokens: 'maxOutputTokens',
    temperature: 'temperature',
    topP: 'topP',
    topK: 'topK',
    seed: 'seed',
    frequencyPenalty: 'frequencyPenalty',
    presencePenalty: 'presencePenalty',
    choices: 'candidateCount',
    logprobs: 'responseLogprobs',
    topLogprobs: 'logprobs',
    serviceTier: 'serviceTier',
  },
};

const numbers: readonly NumberOption[] = [
  'maxOutputTokens',
  'temperature',
  'topP',
  'topK',
  'seed',
  'frequencyPenalty',
  'presencePenalty',
  'choices',
  'topLogprobs',
];

/** Reads the settings of `format` that are numbers and stand right in `source`. */
export const readNumbers = (format: Format, source: Members, options: Options): void => {
  for (const option of numbers) {
    const name = names[format][option];
    const value = name === undefined ? null : source.number(name);
    if (value !== null) options[option] = value;
  }
};

/** The path of a setting in a request of `format`. */
export const optionPath = (format: Format, option: Option): string => {
  const name = names[format][option] ?? option;
  return format === 'gemini' && option !== 'serviceTier' ? `generationConfig.${name}` : name;
};

/** A setting that only asks for what is so anyway: nothing is lost without it. */
const isDefault = (option: Option, value: unknown): boolean =>
  (option === 'choices' && value === 1) ||
  (option === 'logprobs' && value === false) ||
  (option === 'parallelCalls' && value === true) ||
  ((option === 'frequencyPenalty' || option === 'presencePenalty') && value === 0) ||
  (option === 'serviceTier' && (value === 'auto' || value === 'default' || value === 'standard')) ||
  (option === 'verbosity' && value === 'medium');

/** The settings by name, each at most once; the writer takes what it carries, and `rest` names the others. */
export class OptionSource {
  readonly #options: Options;
  readonly #from: Format;
  readonly #losses: Losses;
  readonly #taken = new Set<Option>();

  constructor(options: Options, from: Format, losses: Losses) {
    this.#options = options;
    this.#from = from;
    this.#losses = losses;
  }

  take<O extends Option>(option: O): Options[O] {
    this.#taken.add(option);
    return this.#options[option];
  }

  lose(option: Option): void {
    if (this.#options[option] === undefined) return;
    this.#losses.add(optionPath(this.#from, option));
  }

  rest(): void {
    for (const option of Object.keys(this.#options)) {
      if (!isOption(option) || this.#taken.has(option)) continue;
      if (!isDefault(option, this.#options[option])) this.lose(option);
    }
  }
}

const allOptions = new Set<string>([...numbers, ...Object.keys(names['openai-chat'])]);
const isOption = (name: string): name is Option => allOptions.has(name);
