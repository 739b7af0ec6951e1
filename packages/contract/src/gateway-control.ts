import { z } from 'zod';
import { runId } from './identity.ts';
import { routes } from './route.ts';

const time = z.string();
const cap = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().default(null);
const repetitions = z.number().int().min(2).max(10_000).nullable().default(null);

/** What each run may use; null: no cap, or that of the agent or workspace. Dollars are in millionths. */
const caps = {
  maxMicroUsd: cap,
  maxTokens: cap,
  maxCalls: cap,
  maxSteps: cap,
  /** How often the same tool may be called with the same arguments. */
  maxRepeatedCalls: repetitions,
  /** How often the input may grow without anything new at its end. */
  maxUnchangedInputs: repetitions,
};

export const capSubject = z.enum(['workspace', 'agent', 'run']);
export const killSubject = z.enum(['workspace', 'key', 'agent', 'run']);
const subjectId = z.string().min(1).max(128);

const shown = z.number().nullable();

export const runCaps = z.object({
  subject: capSubject,
  subjectId: z.string(),
  maxMicroUsd: shown,
  maxTokens: shown,
  maxCalls: shown,
  maxSteps: shown,
  maxRepeatedCalls: shown,
  maxUnchangedInputs: shown,
  updatedAt: time,
});

export const runTotals = z.object({
  runId: z.string(),
  agentId: z.string().nullable(),
  calls: z.number(),
  steps: z.number(),
  microUsd: z.number(),
  tokens: z.number(),
  heldMicroUsd: z.number(),
  heldTokens: z.number(),
  /** How often the input grew in a row without anything new at its end. */
  unchangedInputs: z.number(),
  startedAt: time,
  updatedAt: time,
});

export const killSwitch = z.object({
  id: z.string(),
  subject: killSubject,
  subjectId: z.string(),
  reason: z.string(),
  createdAt: time,
  createdBy: z.string(),
  liftedAt: time.nullable(),
});

export const gatewayEvent = z.object({
  seq: z.number(),
  id: z.string(),
  at: time,
  type: z.string(),
  subject: z.string(),
  data: z.record(z.string(), z.unknown()),
});

/** An attempt as it ended, for whoever watches; the ledger has all of it. */
export const tailAttempt = z.object({
  at: time,
  endpoint: z.string(),
  route: z.string().nullable(),
  provider: z.string(),
  model: z.string(),
  outcome: z.string(),
  inputTokens: z.number().nullable(),
  outputTokens: z.number().nullable(),
  costMicroUsd: z.number().nullable(),
  latencyMs: z.number(),
  firstTokenMs: z.number().nullable(),
  keyId: z.string().nullable(),
  agentId: z.string().nullable(),
  runId: z.string().nullable(),
  traceId: z.string().nullable(),
});

export const tailItem = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('event'), event: gatewayEvent }),
  z.object({ kind: z.literal('attempt'), attempt: tailAttempt }),
  /** So many attempts came faster than they could be told of. */
  z.object({ kind: z.literal('skipped'), attempts: z.number() }),
]);

/** One row of the ledger. */
export const attempt = z.object({
  id: z.string(),
  callId: z.string(),
  attempt: z.number(),
  at: time,
  endpoint: z.string(),
  requestedModel: z.string(),
  route: z.string().nullable(),
  variant: z.string().nullable(),
  provider: z.string(),
  model: z.string(),
  responseModel: z.string().nullable(),
  recorded: z.boolean(),
  streamed: z.boolean(),
  cache: z.enum(['exact', 'semantic', 'replayed']).nullable(),
  status: z.number().nullable(),
  error: z.string().nullable(),
  usageSource: z.enum(['provider', 'estimated', 'none']),
  inputTokens: z.number().nullable(),
  cacheReadTokens: z.number().nullable(),
  cacheWrite5mTokens: z.number().nullable(),
  cacheWrite1hTokens: z.number().nullable(),
  outputTokens: z.number().nullable(),
  reasoningTokens: z.number().nullable(),
  /** Null: the model has no price. */
  costMicroUsd: z.number().nullable(),
  priceVersion: z.string().nullable(),
  latencyMs: z.number(),
  firstTokenMs: z.number().nullable(),
  teamId: z.string().nullable(),
  userId: z.string().nullable(),
  keyId: z.string(),
  agentId: z.string().nullable(),
  runId: z.string().nullable(),
  step: z.string().nullable(),
  traceId: z.string(),
  tags: z.record(z.string(), z.string()),
});

export const usageGroups = [
  'day',
  'endpoint',
  'route',
  'variant',
  'provider',
  'model',
  'team',
  'user',
  'key',
  'agent',
  'run',
] as const;
const usageGroup = z.enum(usageGroups);

export const usageRow = z.object({
  /** The value of each thing that was grouped by; null: calls without one. */
  group: z.record(z.string(), z.string().nullable()),
  calls: z.number(),
  attempts: z.number(),
  failed: z.number(),
  cached: z.number(),
  inputTokens: z.number(),
  cacheReadTokens: z.number(),
  cacheWriteTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
  costMicroUsd: z.number(),
  /** Attempts that used tokens of a model without a price. */
  unpriced: z.number(),
});

export const webhook = z.object({ id: z.string(), url: z.string(), types: z.array(z.string()), createdAt: time });

export const webhookDelivery = z.object({
  id: z.string(),
  eventId: z.string(),
  eventType: z.string(),
  state: z.enum(['pending', 'delivered', 'failed']),
  attempts: z.number(),
  nextAt: time.nullable(),
  lastStatus: z.number().nullable(),
  lastError: z.string().nullable(),
  createdAt: time,
});

const id = z.object({ id: z.string().max(128) });
const limit = (most: number, usual: number) => z.coerce.number().int().min(1).max(most).default(usual);
const after = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const instant = z.iso.datetime({ offset: true });
const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true');
const eventType = z.string().regex(/^[a-z][a-z0-9_.]{0,63}$/);
/** A query's list, its items separated by commas. */
const listOf = <T extends z.ZodType<unknown, string>>(item: T) =>
  z
    .string()
    .max(1_024)
    .transform((text) => text.split(','))
    .pipe(z.array(item).min(1).max(32));

export const gatewayControlRoutes = routes({
  gatewayUsage: {
    method: 'GET',
    path: '/api/gateway/usage',
    role: 'viewer',
    answer: 'json',
    summary: 'Calls, tokens and cost by what is asked for, the dearest first.',
    query: z.object({
      /** The last 30 days unless told. */
      since: instant.optional(),
      until: instant.optional(),
      by: listOf(usageGroup).default(['model']),
      /** Of days. */
      timeZone: z.string().max(64).default('UTC'),
      limit: limit(10_000, 1_000),
    }),
    response: z.object({ since: time, until: time, items: z.array(usageRow) }),
  },
  listAttempts: {
    method: 'GET',
    path: '/api/gateway/attempts',
    role: 'viewer',
    answer: 'json',
    summary: 'Read the ledger, newest first: one row for each attempt to get an answer.',
    query: z.object({ limit: limit(1_000, 100), cursor: z.string().max(256).optional(), run: runId.optional() }),
    response: z.object({ items: z.array(attempt), cursor: z.string().nullable() }),
  },
  listRuns: {
    method: 'GET',
    path: '/api/gateway/runs',
    role: 'viewer',
    answer: 'json',
    summary: 'List what runs under caps have used, those that were active last first.',
    query: z.object({ limit: limit(1_000, 100) }),
    response: z.object({ items: z.array(runTotals) }),
  },
  putCaps: {
    method: 'PUT',
    path: '/api/gateway/caps',
    role: 'owner',
    answer: 'json',
    summary: 'Set the caps of each run: of one run, of all runs of an agent, or of the workspace.',
    /** `subjectId` is left out for the workspace. */
    body: z.object({ subject: capSubject, subjectId: subjectId.optional(), ...caps }),
    response: runCaps,
  },
  listCaps: {
    method: 'GET',
    path: '/api/gateway/caps',
    role: 'viewer',
    answer: 'json',
    summary: 'List the caps of runs.',
    query: z.object({ limit: limit(10_000, 1_000) }),
    response: z.object({ items: z.array(runCaps) }),
  },
  removeCaps: {
    method: 'DELETE',
    path: '/api/gateway/caps/{subject}/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id.extend({ subject: capSubject }),
    summary: 'Remove the caps of a run, of an agent, or of the workspace by its id.',
  },
  setKill: {
    method: 'POST',
    path: '/api/gateway/kills',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Stop a key, an agent, a run or the workspace: calls under way end at once, and no new one begins.',
    /** `subjectId` is left out for the workspace. */
    body: z.object({ subject: killSubject, subjectId: subjectId.optional(), reason: z.string().max(256).default('') }),
    response: killSwitch,
  },
  listKills: {
    method: 'GET',
    path: '/api/gateway/kills',
    role: 'viewer',
    answer: 'json',
    summary: 'List kill switches, newest first.',
    query: z.object({ lifted: flag, limit: limit(1_000, 100) }),
    response: z.object({ items: z.array(killSwitch) }),
  },
  liftKill: {
    method: 'DELETE',
    path: '/api/gateway/kills/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Lift a kill switch: calls may begin again.',
  },
  listGatewayEvents: {
    method: 'GET',
    path: '/api/gateway/events',
    role: 'viewer',
    answer: 'json',
    summary: 'Read what happened in the gateway, oldest first.',
    query: z.object({ after: after.default(0), types: listOf(eventType).optional(), limit: limit(1_000, 100) }),
    response: z.object({ items: z.array(gatewayEvent) }),
  },
  tailGateway: {
    method: 'GET',
    path: '/api/gateway/tail',
    role: 'viewer',
    answer: 'sse',
    summary: 'Watch the gateway: its last events, and with `follow` events and attempts as they come.',
    query: z.object({ last: limit(1_000, 20), follow: flag }),
    response: tailItem,
  },
  createWebhook: {
    method: 'POST',
    path: '/api/gateway/webhooks',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Have events sent to a URL. The secret that signs them is in this answer and nowhere else.',
    /** No types: all. */
    body: z.object({ url: z.string().min(1).max(2_048), types: z.array(eventType).max(100).default([]) }),
    response: webhook.extend({ secret: z.string() }),
  },
  listWebhooks: {
    method: 'GET',
    path: '/api/gateway/webhooks',
    role: 'viewer',
    answer: 'json',
    summary: 'List the webhooks of the workspace, without their secrets.',
    response: z.object({ items: z.array(webhook) }),
  },
  removeWebhook: {
    method: 'DELETE',
    path: '/api/gateway/webhooks/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove a webhook with its deliveries.',
  },
  testWebhook: {
    method: 'POST',
    path: '/api/gateway/webhooks/{id}/test',
    role: 'owner',
    answer: 'json',
    params: id,
    summary: 'Send a webhook an event of the type webhook.test.',
    response: z.object({ deliveryId: z.string() }),
  },
  listDeliveries: {
    method: 'GET',
    path: '/api/gateway/webhooks/{id}/deliveries',
    role: 'viewer',
    answer: 'json',
    params: id,
    summary: 'List the deliveries of a webhook, newest first.',
    query: z.object({ limit: limit(1_000, 100) }),
    response: z.object({ items: z.array(webhookDelivery) }),
  },
});

export type RunCaps = z.output<typeof runCaps>;
export type RunTotals = z.output<typeof runTotals>;
export type KillSwitch = z.output<typeof killSwitch>;
export type GatewayEvent = z.output<typeof gatewayEvent>;
export type TailItem = z.output<typeof tailItem>;
export type TailAttempt = z.output<typeof tailAttempt>;
export type AttemptRow = z.output<typeof attempt>;
export type UsageRow = z.output<typeof usageRow>;
export type UsageGroup = z.output<typeof usageGroup>;
export type Webhook = z.output<typeof webhook>;
export type WebhookDelivery = z.output<typeof webhookDelivery>;
