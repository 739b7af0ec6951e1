import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';

/** What a file asks for, in the form of our own documents; secrets are still in the providers. */
export interface ImportedConfiguration {
  readonly providers: readonly Readonly<Record<string, unknown>>[];
  readonly routes: readonly Readonly<Record<string, unknown>>[];
  /** What has no equivalent, by its path in the file. */
  readonly ignored: readonly string[];
}

const scalar = z.union([z.string(), z.number()]).transform(String);

const modelEntry = z.looseObject({
  model_name: z.string().min(1).max(256),
  litellm_params: z.looseObject({
    model: z.string().min(1).max(512),
    api_base: z.string().max(2_048).nullish(),
    api_key: scalar.nullish(),
    api_version: scalar.nullish(),
    organization: z.string().nullish(),
    aws_access_key_id: scalar.nullish(),
    aws_secret_access_key: scalar.nullish(),
    aws_session_token: scalar.nullish(),
    aws_region_name: z.string().nullish(),
    weight: z.number().min(0).nullish(),
    order: z.number().int().min(0).max(100).nullish(),
    timeout: z.number().positive().nullish(),
  }),
});

const fallbacks = z.array(z.record(z.string(), z.array(z.string()))).max(1_000);

/** The form of LiteLLM's proxy: https://docs.litellm.ai/docs/proxy/configs */
export const liteLlmFile = z.looseObject({
  model_list: z.array(modelEntry).max(1_000),
  router_settings: z
    .looseObject({
      routing_strategy: z.string().nullish(),
      num_retries: z.number().int().min(0).nullish(),
      timeout: z.number().positive().nullish(),
      fallbacks: fallbacks.nullish(),
    })
    .nullish(),
  litellm_settings: z
    .looseObject({
      num_retries: z.number().int().min(0).nullish(),
      request_timeout: z.number().positive().nullish(),
      fallbacks: fallbacks.nullish(),
      cache: z.boolean().nullish(),
      cache_params: z.looseObject({ ttl: z.number().int().positive().nullish() }).nullish(),
    })
    .nullish(),
});
export type LiteLlmFile = z.output<typeof liteLlmFile>;
type Entry = LiteLlmFile['model_list'][number];
type Parameters = Entry['litellm_params'];

/** Prefixes of servers with OpenAI's paths; null: the file must say where. */
const compatible: Readonly<Record<string, string | null>> = {
  groq: 'https://api.groq.com/openai/v1',
  mistral: 'https://api.mistral.ai/v1',
  openrouter: 'https://openrouter.ai/api/v1',
  deepseek: 'https://api.deepseek.com/v1',
  together_ai: 'https://api.together.xyz/v1',
  fireworks_ai: 'https://api.fireworks.ai/inference/v1',
  xai: 'https://api.x.ai/v1',
  perplexity: 'https://api.perplexity.ai',
  cerebras: 'https://api.cerebras.ai/v1',
  ollama: 'http://127.0.0.1:11434/v1',
  ollama_chat: 'http://127.0.0.1:11434/v1',
  hosted_vllm: null,
  openai_like: null,
  custom_openai: null,
};

const strategies: Readonly<Record<string, string>> = {
  'simple-shuffle': 'weight',
  'latency-based-routing': 'latency',
  'cost-based-routing': 'cost',
  'least-busy': 'latency',
};

const known = new Set([...Object.keys(modelEntry.shape.litellm_params.shape), 'rpm', 'tpm']);

/** `groq/llama-3` → `groq`, `llama-3`; a name without a prefix that we know is OpenAI's or Anthropic's. */
const divide = (model: string): readonly [prefix: string, model: string] => {
  const at = model.indexOf('/');
  const prefix = at === -1 ? '' : model.slice(0, at);
  if (prefix === '') return [model.startsWith('claude') ? 'anthropic' : 'openai', model];
  return [prefix, model.slice(at + 1)];
};

/** Members that are there. */
const present = (members: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined && value !== null));

/** The provider that serves an entry, without its name; null when there is no kind for it. */
const providerOf = (prefix: string, p: Parameters): Record<string, unknown> | null => {
  const timeoutMs = p.timeout == null ? undefined : Math.round(p.timeout * 1_000);
  const shared = { baseUrl: p.api_base, apiKey: p.api_key, timeoutMs };
  switch (prefix) {
    case 'openai':
    case 'text-completion-openai':
      return p.api_base == null
        ? present({ ...shared, kind: 'openai', organization: p.organization })
        : present({ ...shared, kind: 'openai-compatible' });
    case 'anthropic':
      return present({ ...shared, kind: 'anthropic' });
    case 'gemini':
      return present({ ...shared, kind: 'gemini' });
    case 'azure':
      return p.api_base == null ? null : present({ ...shared, kind: 'azure', apiVersion: p.api_version });
    case 'bedrock':
      return present({
        ...{ kind: 'bedrock', region: p.aws_region_name ?? 'us-east-1', accessKeyId: p.aws_access_key_id },
        ...{ secretAccessKey: p.aws_secret_access_key, sessionToken: p.aws_session_token, timeoutMs },
      });
    default: {
      if (!Object.hasOwn(compatible, prefix)) return null;
      const baseUrl = p.api_base ?? compatible[prefix];
      return baseUrl == null ? null : present({ ...shared, kind: 'openai-compatible', baseUrl });
    }
  }
};

interface Target {
  readonly provider: string;
  readonly model: string;
  readonly weight: number;
  readonly priority: number;
}

/** Entries with the same server and key share a provider. */
class Providers {
  readonly all: Record<string, unknown>[] = [];
  readonly #names = new Map<string, string>();

  nameOf(prefix: string, settings: Record<string, unknown>): string {
    const key = JSON.stringify(settings);
    const same = this.#names.get(key);
    if (same !== undefined) return same;
    const base = prefix.replace(/[^a-z0-9_-]/g, '-').slice(0, 50);
    let name = base;
    for (let n = 2; this.all.some((one) => one['name'] === name); n += 1) name = `${base}-${n}`;
    this.#names.set(key, name);
    this.all.push({ name, ...settings });
    return name;
  }
}

const ignoredSettings = (file: LiteLlmFile): string[] => {
  const understood = {
    router_settings: ['routing_strategy', 'num_retries', 'timeout', 'fallbacks'],
    litellm_settings: ['num_retries', 'request_timeout', 'fallbacks', 'cache', 'cache_params'],
  };
  const paths = Object.keys(file).filter((key) => key !== 'model_list' && !Object.hasOwn(understood, key));
  for (const [group, keys] of Object.entries(understood)) {
    const settings = group === 'router_settings' ? file.router_settings : file.litellm_settings;
    for (const key of Object.keys(settings ?? {})) if (!keys.includes(key)) paths.push(`${group}.${key}`);
  }
  const strategy = file.router_settings?.routing_strategy;
  if (strategy != null && !Object.hasOwn(strategies, strategy)) paths.push('router_settings.routing_strategy');
  return paths;
};

/** The targets of fallback routes come behind the route's own. */
const withFallbacks = (groups: ReadonlyMap<string, readonly Target[]>, file: LiteLlmFile): Map<string, Target[]> => {
  const all = [...(file.router_settings?.fallbacks ?? []), ...(file.litellm_settings?.fallbacks ?? [])];
  const result = new Map([...groups].map(([name, targets]) => [name, [...targets]]));
  for (const [name, others] of all.flatMap((one) => Object.entries(one))) {
    const own = result.get(name);
    if (own === undefined) continue;
    for (const other of others) {
      const next = Math.max(...own.map((t) => t.priority)) + 1;
      own.push(...(groups.get(other) ?? []).map((t) => ({ ...t, priority: Math.min(100, next + t.priority) })));
    }
  }
  return result;
};

const mostTargets = 8;

/** Turns a file of LiteLLM into providers and model routes. */
export const fromLiteLlm = (file: LiteLlmFile): ImportedConfiguration => {
  const providers = new Providers();
  const ignored = ignoredSettings(file);
  const groups = new Map<string, Target[]>();
  for (const [i, { model_name: name, litellm_params: parameters, ...rest }] of file.model_list.entries()) {
    const [prefix, model] = divide(parameters.model);
    const settings = providerOf(prefix, parameters);
    if (settings === null || name.includes('*') || model.includes('*')) {
      ignored.push(`model_list.${i} (${name}: ${parameters.model})`);
      continue;
    }
    for (const key of Object.keys(parameters))
      if (!known.has(key)) ignored.push(`model_list.${i}.litellm_params.${key}`);
    for (const key of Object.keys(rest)) ignored.push(`model_list.${i}.${key}`);
    const provider = providers.nameOf(prefix, settings);
    const targets = groups.get(name) ?? [];
    groups.set(name, targets);
    targets.push({ provider, model, weight: parameters.weight ?? 1, priority: parameters.order ?? 0 });
  }
  const { router_settings: router, litellm_settings: general } = file;
  const retries = router?.num_retries ?? general?.num_retries;
  const timeout = router?.timeout ?? general?.request_timeout;
  const strategy = strategies[router?.routing_strategy ?? 'simple-shuffle'] ?? 'weight';
  const cache = general?.cache === true ? { exactTtlSeconds: general.cache_params?.ttl ?? 600 } : undefined;
  const routes = [...withFallbacks(groups, file)].map(([name, targets]) => {
    if (targets.length > mostTargets) ignored.push(`model_list: targets of ${name} beyond the first ${mostTargets}`);
    return present({
      ...{ name, strategy, targets: targets.slice(0, mostTargets), cache },
      retries: retries == null ? undefined : Math.min(5, retries),
      deadlineMs: timeout == null ? undefined : Math.min(3_600_000, Math.round(timeout * 1_000)),
    });
  });
  return { providers: providers.all, routes, ignored };
};

/** Puts values in for `os.environ/NAME`. Errors: `request.invalid` that names all variables without a value. */
export const withVariables = (document: unknown, variables: Readonly<Record<string, string>>): unknown => {
  const missing = new Set<string>();
  const replace = (value: unknown): unknown => {
    if (typeof value === 'string') {
      const name = /^os\.environ\/(.+)$/.exec(value)?.[1];
      if (name === undefined) return value;
      if (!Object.hasOwn(variables, name)) missing.add(name);
      return variables[name] ?? value;
    }
    if (Array.isArray(value)) return value.map(replace);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, replace(member)]));
  };
  const replaced = replace(document);
  if (missing.size > 0)
    throw new HoldfastError(
      'request.invalid',
      `These variables have no value: ${[...missing].join(', ').slice(0, 500)}.`,
      {
        variables: [...missing].slice(0, 100),
      },
    );
  return replaced;
};
