import { Secret } from '@holdfast/core';
import { z } from 'zod';

export const providerName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'lower-case letters, digits, - and _, at most 63');

/** Model names are free text for providers; no controls, since they appear in logs and on terminals. */
export const modelName = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\p{Cc}]+$/u, 'no control characters');

const webUrl = z.url({ protocol: /^https?$/ }).max(2_048);
const folderUrl = z
  .string()
  .max(4_096)
  .regex(/^(file:\/\/)?\//, 'a file: URL or an absolute path');

const secret = z
  .union([z.instanceof(Secret), z.string().min(1).max(4_096)])
  .transform((v) => (typeof v === 'string' ? new Secret(v) : v));

/** What every kind that is reached over HTTP has. */
const reached = {
  name: providerName,
  /** The models it serves. Absent: any model that no other provider lists is tried here. */
  models: z.array(modelName).max(1_000).optional(),
  /** Longest silence of the provider in milliseconds: until the first byte of an answer, then between its bytes. */
  timeoutMs: z.number().int().min(1).max(900_000).default(120_000),
  /** Under which provider's prices its models are billed; by its kind unless told. */
  prices: z
    .string()
    .regex(/^[a-z0-9_-]{1,64}$/)
    .optional(),
};

const headerName = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/, 'a header name in lower case')
  .refine(
    (name) => !/^(host|connection|content-length|transfer-encoding|authorization|cookie)$/.test(name),
    'not this',
  );
const headerValue = z.string().regex(/^[\x20-\x7e]{0,1024}$/, 'printable ASCII');

/** Formats that a server with OpenAI's paths may speak natively. */
const spoken = z.enum(['openai-chat', 'openai-responses', 'anthropic']);

const openAi = z.strictObject({
  ...reached,
  kind: z.literal('openai'),
  baseUrl: webUrl.default('https://api.openai.com/v1'),
  apiKey: secret.optional(),
  organization: headerValue.optional(),
  project: headerValue.optional(),
});

const openAiCompatible = z.strictObject({
  ...reached,
  kind: z.literal('openai-compatible'),
  /** Such as `http://127.0.0.1:11434/v1`; `/chat/completions` is added to it. */
  baseUrl: webUrl,
  /** Absent for servers that need none. */
  apiKey: secret.optional(),
  /** What it speaks besides chat completions; the rest is translated. */
  formats: z.array(spoken).min(1).max(3).default(['openai-chat']),
  headers: z.record(headerName, headerValue).optional(),
});

const anthropic = z.strictObject({
  ...reached,
  kind: z.literal('anthropic'),
  baseUrl: webUrl.default('https://api.anthropic.com'),
  apiKey: secret.optional(),
  /** The version of the API for callers that do not name one. */
  version: headerValue.default('2023-06-01'),
});

const gemini = z.strictObject({
  ...reached,
  kind: z.literal('gemini'),
  baseUrl: webUrl.default('https://generativelanguage.googleapis.com'),
  apiKey: secret.optional(),
});

const azure = z.strictObject({
  ...reached,
  kind: z.literal('azure'),
  /** Such as `https://name.openai.azure.com`. */
  baseUrl: webUrl,
  apiKey: secret.optional(),
  /** With one: the paths of deployments under this API version. Without: Azure's `/openai/v1`. */
  apiVersion: z
    .string()
    .regex(/^[0-9A-Za-z.-]{1,40}$/)
    .optional(),
});

const bedrock = z.strictObject({
  ...reached,
  kind: z.literal('bedrock'),
  region: z.string().regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'a region such as us-east-1'),
  /** The endpoint of the region unless told. */
  baseUrl: webUrl.optional(),
  accessKeyId: z.string().regex(/^[A-Za-z0-9]{1,128}$/),
  secretAccessKey: secret.optional(),
  sessionToken: secret.optional(),
});

const recorded = z.strictObject({
  name: providerName,
  kind: z.literal('recorded'),
  /** The folder of recordings, as a `file:` URL or an absolute path. */
  baseUrl: folderUrl,
  /** Share of the recorded waiting times that a replay waits: 0 none, 1 all. */
  pace: z.number().min(0).max(10).default(1),
  timeoutMs: reached.timeoutMs,
});

export const providerConfiguration = z.discriminatedUnion('kind', [
  openAi,
  openAiCompatible,
  anthropic,
  gemini,
  azure,
  bedrock,
  recorded,
]);

/**
 * The same for providers that a workspace configures by itself: without secrets, which are given and kept apart, and
 * without recordings, which are files of the server.
 */
export const storedProvider = z.discriminatedUnion('kind', [
  openAi.omit({ apiKey: true }),
  openAiCompatible.omit({ apiKey: true }),
  anthropic.omit({ apiKey: true }),
  gemini.omit({ apiKey: true }),
  azure.omit({ apiKey: true }),
  bedrock.omit({ secretAccessKey: true, sessionToken: true }),
]);

/** The secrets of a provider: `apiKey`, or for Bedrock the other two. */
export const providerSecrets = z.strictObject({
  apiKey: secret.optional(),
  secretAccessKey: secret.optional(),
  sessionToken: secret.optional(),
});

export type ProviderConfiguration = z.output<typeof providerConfiguration>;
export type StoredProvider = z.output<typeof storedProvider>;
export type ProviderSecrets = z.output<typeof providerSecrets>;
