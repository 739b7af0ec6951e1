import { z } from 'zod';
import { providerConfiguration } from './providers/provider-configuration.ts';
import { type ModelRouteConfiguration, modelRouteConfiguration } from './routing/route-configuration.ts';

const duplicates = (names: readonly string[]): string[] => names.filter((n, i) => names.indexOf(n) !== i);

/** The providers that a route names. */
export const providersOf = (route: ModelRouteConfiguration): readonly string[] =>
  [...(route.targets ?? []), ...(route.variants ?? []).flatMap((v) => v.targets)].map((t) => t.provider);

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
      for (const provider of providersOf(route))
        if (!providers.has(provider))
          context.addIssue({
            code: 'custom',
            path: ['routes', i, 'targets'],
            message: `no provider is named ${provider}`,
          });
    });
  });

export type GatewayConfiguration = z.output<typeof gatewayConfiguration>;
