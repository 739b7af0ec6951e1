import { z } from 'zod';
import { routes } from './route.ts';

/** Settings of providers and model routes are documents whose fields depend on their kind; the guide lists them. */
const name = z.string().min(1).max(256);
const time = z.string();

export const providerKind = z.enum([
  'openai',
  'anthropic',
  'gemini',
  'bedrock',
  'azure',
  'openai-compatible',
  'recorded',
]);

export const gatewayProvider = z.looseObject({
  name: z.string(),
  kind: providerKind,
  /** `server`: from the server's own configuration, which only that changes. */
  origin: z.enum(['workspace', 'server']),
  baseUrl: z.string().nullable(),
  /** Models it is known to serve; null: any. */
  models: z.array(z.string()).nullable(),
  hasSecrets: z.boolean(),
  updatedAt: time.nullable(),
});

/** Secrets are written only: `apiKey`, or for Bedrock `secretAccessKey` and `sessionToken`. */
export const gatewayProviderInput = z.looseObject({
  name,
  kind: providerKind,
  baseUrl: z.string().max(2_048).optional(),
  models: z.array(name).max(1_000).optional(),
  timeoutMs: z.number().optional(),
  apiKey: z.string().min(1).max(4_096).optional(),
  secretAccessKey: z.string().min(1).max(4_096).optional(),
  sessionToken: z.string().min(1).max(4_096).optional(),
});

const target = z.looseObject({ provider: z.string(), model: z.string() });

export const modelRoute = z.looseObject({
  name: z.string(),
  strategy: z.string(),
  targets: z.array(target).optional(),
  origin: z.enum(['workspace', 'server']),
  updatedAt: time.nullable(),
});

export const modelRouteInput = z.looseObject({
  name,
  strategy: z.enum(['priority', 'weight', 'latency', 'cost']).optional(),
  targets: z.array(target).max(8).optional(),
});

export const targetHealth = z.object({
  route: z.string(),
  variant: z.string().nullable(),
  provider: z.string(),
  model: z.string(),
  state: z.enum(['well', 'cooling', 'open', 'half-open']),
  /** Until it is asked again; 0 when it may be asked now. */
  remainingMs: z.number(),
  failuresInARow: z.number(),
  succeeded: z.number(),
  failed: z.number(),
  latencyMs: z.number().nullable(),
});

export const budgetUnit = z.enum(['micro_usd', 'requests', 'tokens']);
export const budgetScope = z.enum(['workspace', 'team', 'user', 'key', 'agent', 'run']);
export const budgetPeriod = z.enum(['minute', 'hour', 'day', 'week', 'month', 'total']);

/** Amounts are in the budget's unit, dollars in millionths. */
export const gatewayBudget = z.object({
  id: z.string(),
  unit: budgetUnit,
  scope: budgetScope,
  /** Whose; null: each of the scope has the whole amount for itself. */
  subjectId: z.string().nullable(),
  endpoint: z.string().nullable(),
  period: budgetPeriod,
  timeZone: z.string(),
  amount: z.number(),
  /** A hard budget refuses calls; another only tells when a threshold is passed. */
  hard: z.boolean(),
  /** Percent of the amount at which there is an event. */
  thresholds: z.array(z.number()),
});

export const budgetUse = z.object({
  subjectId: z.string().nullable(),
  startsAt: time,
  endsAt: time.nullable(),
  spent: z.number(),
  /** Held for calls under way and, a little, for calls to come. */
  reserved: z.number(),
});

const amount = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const thresholds = z.array(z.number().int().min(1).max(1_000)).max(10);

const budgetInput = z.object({
  unit: budgetUnit.default('micro_usd'),
  scope: budgetScope.default('workspace'),
  subjectId: z.string().min(1).max(128).nullable().default(null),
  endpoint: z.string().min(1).max(64).nullable().default(null),
  period: budgetPeriod,
  timeZone: z.string().max(64).default('UTC'),
  amount,
  hard: z.boolean().default(true),
  thresholds: thresholds.default([]),
});

/** Whole micro-dollars for a million tokens, or such a rate with others for prompts that are longer. */
const microUsd = z.number().int().min(0).max(1_000_000_000_000_000);
const rate = z.union([
  microUsd,
  z.object({
    base: microUsd,
    tiers: z
      .array(z.object({ above: z.number().int().min(0), price: microUsd }))
      .min(1)
      .max(10),
  }),
]);
const rateName = z.enum([
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
]);

const priceInput = z.object({
  /** As the provider's settings name its prices, such as `openai`; by its kind unless they say otherwise. */
  provider: z.string().min(1).max(64),
  /** The model's exact name. */
  model: z.string().min(1).max(256),
  /** From when on it holds; from now on unless told. */
  effectiveFrom: z.iso.datetime({ offset: true }).optional(),
  rates: z.partialRecord(rateName, rate).default({}),
  /** Micro-dollars for each thing that is no token. */
  units: z.partialRecord(z.enum(['request', 'image', 'audioSecond', 'character']), microUsd).default({}),
  contextTokens: z.number().int().min(1).nullable().default(null),
});

export const gatewayPrice = z.object({
  id: z.string(),
  provider: z.string(),
  model: z.string(),
  effectiveFrom: time,
  rates: z.record(z.string(), z.unknown()),
  units: z.record(z.string(), z.number()),
  contextTokens: z.number().nullable(),
});

const id = z.object({ id: z.string().max(128) });
const named = z.object({ name: z.string().max(256) });

export const gatewayAdminRoutes = routes({
  listProviders: {
    method: 'GET',
    path: '/api/gateway/providers',
    role: 'viewer',
    answer: 'json',
    summary: 'List the providers that the workspace may use, without their secrets.',
    response: z.object({ items: z.array(gatewayProvider) }),
  },
  putProvider: {
    method: 'PUT',
    path: '/api/gateway/providers',
    role: 'owner',
    answer: 'json',
    summary:
      'Make or replace a provider of the workspace. Secrets are stored encrypted; left out, they stay as they are.',
    body: gatewayProviderInput,
    response: gatewayProvider,
  },
  removeProvider: {
    method: 'DELETE',
    path: '/api/gateway/providers/{name}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: named,
    summary: 'Remove a provider of the workspace that no model route names.',
  },
  listModelRoutes: {
    method: 'GET',
    path: '/api/gateway/routes',
    role: 'viewer',
    answer: 'json',
    summary: 'List the model routes that the workspace may use.',
    response: z.object({ items: z.array(modelRoute) }),
  },
  putModelRoute: {
    method: 'PUT',
    path: '/api/gateway/routes',
    role: 'owner',
    answer: 'json',
    summary: 'Make or replace a model route of the workspace; calls under way keep the one they began with.',
    body: modelRouteInput,
    response: modelRoute,
  },
  removeModelRoute: {
    method: 'DELETE',
    path: '/api/gateway/routes/{name}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: named,
    summary: 'Remove a model route of the workspace.',
  },
  gatewayHealth: {
    method: 'GET',
    path: '/api/gateway/health',
    role: 'viewer',
    answer: 'json',
    summary: 'How the targets of all model routes are, as this server sees them.',
    response: z.object({ items: z.array(targetHealth) }),
  },
  importGateway: {
    method: 'POST',
    path: '/api/gateway/import',
    role: 'owner',
    answer: 'json',
    summary: 'Make providers and model routes of a configuration file in the form of LiteLLM or of our own.',
    body: z.object({
      /** YAML or JSON. */
      text: z.string().max(524_288),
      /** Values for `os.environ/NAME` in the file; the server looks into no environment of its own. */
      variables: z.record(z.string().max(256), z.string().max(4_096)).default({}),
      /** Only say what would be done. */
      dryRun: z.boolean().default(false),
    }),
    response: z.object({
      providers: z.array(z.string()),
      routes: z.array(z.string()),
      /** What of the file has no equivalent, by its path. */
      ignored: z.array(z.string()),
    }),
  },
  createBudget: {
    method: 'POST',
    path: '/api/gateway/budgets',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Create a budget of dollars, or a limit of requests or tokens. It counts from the next call on.',
    body: budgetInput,
    response: gatewayBudget,
  },
  listBudgets: {
    method: 'GET',
    path: '/api/gateway/budgets',
    role: 'viewer',
    answer: 'json',
    summary: 'List the budgets of the workspace with how full they are.',
    query: z.object({
      limit: z.coerce.number().int().min(1).max(1000).default(100),
      cursor: z.string().max(256).optional(),
    }),
    response: z.object({
      items: z.array(gatewayBudget.extend({ uses: z.array(budgetUse) })),
      cursor: z.string().nullable(),
    }),
  },
  changeBudget: {
    method: 'PATCH',
    path: '/api/gateway/budgets/{id}',
    role: 'owner',
    answer: 'json',
    params: id,
    summary: 'Change the amount, the thresholds or the hardness of a budget.',
    body: z.object({ amount: amount.optional(), hard: z.boolean().optional(), thresholds: thresholds.optional() }),
    response: gatewayBudget,
  },
  removeBudget: {
    method: 'DELETE',
    path: '/api/gateway/budgets/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove a budget: it holds no call back any more.',
  },
  createPrice: {
    method: 'POST',
    path: '/api/gateway/prices',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Set what a model costs the workspace, from a time on; it comes before the prices of the release.',
    body: priceInput,
    response: gatewayPrice,
  },
  listPrices: {
    method: 'GET',
    path: '/api/gateway/prices',
    role: 'viewer',
    answer: 'json',
    summary: 'List the prices that the workspace has set.',
    response: z.object({ items: z.array(gatewayPrice) }),
  },
  removePrice: {
    method: 'DELETE',
    path: '/api/gateway/prices/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove a price that the workspace has set; calls that were charged by it stay as they are.',
  },
  rotateMasterKey: {
    method: 'POST',
    path: '/api/gateway/master-key/rotations',
    role: 'owner',
    answer: 'json',
    summary:
      'Seal the stored secrets of all workspaces anew with a new master key; only for owners of the default workspace.',
    response: z.object({ resealed: z.number() }),
  },
  cacheStats: {
    method: 'GET',
    path: '/api/gateway/cache',
    role: 'viewer',
    answer: 'json',
    summary: 'How much the answer cache of the workspace holds.',
    response: z.object({ entries: z.number(), bytes: z.number(), semanticEntries: z.number() }),
  },
  purgeCache: {
    method: 'DELETE',
    path: '/api/gateway/cache',
    role: 'developer',
    answer: 'json',
    summary: 'Forget the cached answers of a model route, or all.',
    query: z.object({ model: z.string().max(256).optional() }),
    response: z.object({ removed: z.number() }),
  },
});

export type GatewayProvider = z.output<typeof gatewayProvider>;
export type GatewayProviderInput = z.input<typeof gatewayProviderInput>;
export type ModelRoute = z.output<typeof modelRoute>;
export type ModelRouteInput = z.input<typeof modelRouteInput>;
export type TargetHealth = z.output<typeof targetHealth>;
export type GatewayBudget = z.output<typeof gatewayBudget>;
export type GatewayPrice = z.output<typeof gatewayPrice>;
export type BudgetUse = z.output<typeof budgetUse>;
