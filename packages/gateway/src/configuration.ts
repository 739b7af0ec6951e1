import { Secret } from '@holdfast/core';
import { z } from 'zod';

const name = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'lower-case letters, digits, - and _, at most 63');
/** Model names are free text for providers; no controls, since they appear in logs and on terminals. */
const model = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\p{Cc}]+$/u, 'no control characters');
const models = z.array(model).max(1_000).optional();
/**
 * Longest silence of the provider in milliseconds: until the first byte of an answer, then between its bytes. At most
 * 300 s, since Node's fetch gives up by itself then.
 */
const timeoutMs = z.number().int().min(1).max(300_000).default(120_000);

const webUrl = z.url({ protocol: /^https?$/ }).max(2_048);
const folderUrl = z
  .string()
  .max(4_096)
  .regex(/^(file:\/\/)?\//, 'a file: URL or an absolute path');

export const providerConfiguration = z.discriminatedUnion('kind', [
  z.strictObject({
    name,
    kind: z.literal('openai-compatible'),
    /** Such as `https://api.openai.com/v1`; `/chat/completions` is added to it. */
    baseUrl: webUrl,
    /** Absent for servers that need none. */
    apiKey: z
      .union([z.instanceof(Secret), z.string().min(1).max(4_096)])
      .transform((v) => (typeof v === 'string' ? new Secret(v) : v))
      .optional(),
    /** The models it serves. Absent: any model that no other provider lists is tried here. */
    models,
    timeoutMs,
  }),
  z.strictObject({
    name,
    kind: z.literal('recorded'),
    /** The folder of recordings, as a `file:` URL or an absolute path. */
    baseUrl: folderUrl,
    /** Share of the recorded waiting times that a replay waits: 0 none, 1 all. */
    pace: z.number().min(0).max(10).default(1),
    timeoutMs,
  }),
]);

export const modelRouteConfiguration = z.strictObject({
  /** What callers give as `model`. */
  name: model,
  /** Tried in this order. */
  targets: z
    .array(z.strictObject({ provider: name, model }))
    .min(1)
    .max(8),
});

const duplicates = (names: readonly string[]): string[] => names.filter((n, i) => names.indexOf(n) !== i);

/** Providers and model routes, for the server's configuration. */
export const gatewayConfiguration = z
  .strictObject({
    providers: z.array(providerConfiguration).max(100).default([]),
    routes: z.array(modelRouteConfiguration).max(1_000).default([]),
  })
  .superRefine((config, context) => {
    const providers = new Set(config.providers.map((p) => p.name));
    for (const twice of duplicates(config.providers.map((p) => p.name)))
      context.addIssue({ code: 'custom', path: ['providers'], message: `provider ${twice} is configured twice` });
    for (const twice of duplicates(config.routes.map((r) => r.name)))
      context.addIssue({ code: 'custom', path: ['routes'], message: `route ${twice} is configured twice` });
    config.routes.forEach((route, i) => {
      for (const target of route.targets)
        if (!providers.has(target.provider))
          context.addIssue({
            code: 'custom',
            path: ['routes', i, 'targets'],
            message: `no provider is named ${target.provider}`,
          });
    });
  });

export type ProviderConfiguration = z.output<typeof providerConfiguration>;
export type ModelRouteConfiguration = z.output<typeof modelRouteConfiguration>;
export type GatewayConfiguration = z.output<typeof gatewayConfiguration>;
