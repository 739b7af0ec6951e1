import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import type { ModelRoute } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Run } from '../../command.ts';
import { type Context, connect } from '../../context.ts';
import { formatBytes, formatTable } from '../../output.ts';

export const listProviders: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.listProviders(), ({ items }) =>
    formatTable(
      ['NAME', 'KIND', 'OF', 'KEY', 'MODELS', 'ADDRESS'],
      items.map((p) => [
        p.name,
        p.kind,
        p.origin,
        p.origin === 'server' ? null : p.hasSecrets ? 'stored' : 'none',
        p.models === null ? 'any' : p.models.join(', ').slice(0, 60),
        p.baseUrl,
      ]),
    ),
  );
};

interface ProviderOptions {
  readonly kind: 'openai' | 'anthropic' | 'gemini' | 'bedrock' | 'azure' | 'openai-compatible';
  readonly baseUrl?: string;
  readonly model?: readonly string[];
  readonly keyEnv?: string;
  readonly keyStdin?: boolean;
  readonly set?: Readonly<Record<string, string>>;
}

const secretOf = async ({ configuration }: Context, options: ProviderOptions): Promise<string | undefined> => {
  if (options.keyStdin === true) return (await text(process.stdin)).trim();
  if (options.keyEnv === undefined) return undefined;
  const value = configuration.inherited[options.keyEnv];
  if (value === undefined || value === '')
    throw new HoldfastError('cli.usage', `The variable ${options.keyEnv} is not set.`, { variable: options.keyEnv });
  return value;
};

/** Settings are numbers, truth values and lists where they read like such. */
const settingOf = (value: string): unknown => {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};

export const setProvider: Run<ProviderOptions> = async (context, [name = ''], options) => {
  const secret = await secretOf(context, options);
  const settings = Object.entries(options.set ?? {}).map(([key, value]) => [key, settingOf(value)]);
  const client = await connect(context);
  const made = await client.putProvider({
    body: {
      ...Object.fromEntries(settings),
      ...{ name, kind: options.kind },
      ...(options.baseUrl === undefined ? {} : { baseUrl: options.baseUrl }),
      ...(options.model === undefined ? {} : { models: [...options.model] }),
      ...(secret === undefined ? {} : { [options.kind === 'bedrock' ? 'secretAccessKey' : 'apiKey']: secret }),
    },
  });
  context.output.result(made, (p) => `${p.name} (${p.kind}), key ${p.hasSecrets ? 'stored' : 'none'}`);
};

export const removeProviders: Run<object> = async (context, names) => {
  const client = await connect(context);
  for (const name of names) await client.removeProvider({ params: { name } });
  context.output.result({ removed: names }, () => names.join('\n'));
};

export const rotateMasterKey: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.rotateMasterKey(), ({ resealed }) => `${resealed} secrets are sealed anew.`);
};

const targetsText = (route: ModelRoute): string =>
  (route.targets ?? []).map(({ provider, model }) => `${provider}/${model}`).join(', ') || 'variants';

export const listRoutes: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.listModelRoutes(), ({ items }) =>
    formatTable(
      ['NAME', 'OF', 'STRATEGY', 'TARGETS'],
      items.map((route) => [route.name, route.origin, route.strategy, targetsText(route)]),
    ),
  );
};

interface RouteOptions {
  readonly target?: readonly string[];
  readonly strategy?: 'priority' | 'weight' | 'latency' | 'cost';
  readonly sticky?: boolean;
  readonly retries?: number;
  readonly deadline?: number;
  readonly cache?: number;
  readonly similar?: string;
  readonly threshold?: number;
}

/** `provider/model,weight=2`: models may have slashes, providers have none. */
const targetOf = (given: string, i: number, strategy: string | undefined) => {
  const [place = '', ...settings] = given.split(',');
  const at = place.indexOf('/');
  const pairs = settings.map((setting) => setting.split('='));
  const known = pairs.every(([key, value]) => (key === 'weight' || key === 'priority') && Number(value) >= 0);
  if (at < 1 || at === place.length - 1 || !known)
    throw new HoldfastError('cli.usage', `--target must be PROVIDER/MODEL[,weight=N][,priority=N], not ${given}.`);
  return {
    provider: place.slice(0, at),
    model: place.slice(at + 1),
    // Without a strategy the order on the command line is the order in which targets are tried.
    ...(strategy === undefined ? { priority: i } : {}),
    ...Object.fromEntries(pairs.map(([key = '', value]) => [key, Number(value)])),
  };
};

const cacheOf = ({ cache, similar, threshold }: RouteOptions) => {
  if (cache === undefined && similar === undefined) return {};
  const ttlSeconds = cache === undefined ? undefined : Math.max(1, Math.round(cache / 1000));
  const semantic =
    similar === undefined
      ? {}
      : {
          semantic: {
            embeddingModel: similar,
            ...(threshold === undefined ? {} : { threshold }),
            ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
          },
        };
  return { cache: { ...(ttlSeconds === undefined ? {} : { exactTtlSeconds: ttlSeconds }), ...semantic } };
};

export const setRoute: Run<RouteOptions> = async (context, [name = ''], options) => {
  const { target = [], strategy, sticky, retries, deadline: deadlineMs } = options;
  if (target.length === 0) throw new HoldfastError('cli.usage', 'Give at least one --target PROVIDER/MODEL.');
  const targets = target.map((given, i) => targetOf(given, i, strategy));
  const client = await connect(context);
  const made = await client.putModelRoute({
    body: {
      ...{ name, targets },
      ...(strategy === undefined ? {} : { strategy }),
      ...(sticky === undefined ? {} : { sticky }),
      ...(retries === undefined ? {} : { retries }),
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...cacheOf(options),
    },
  });
  context.output.result(made, (route) => `${route.name}: ${targetsText(route)}`);
};

export const removeRoutes: Run<object> = async (context, names) => {
  const client = await connect(context);
  for (const name of names) await client.removeModelRoute({ params: { name } });
  context.output.result({ removed: names }, () => names.join('\n'));
};

export const showHealth: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.gatewayHealth(), ({ items }) =>
    formatTable(
      ['ROUTE', 'TARGET', 'STATE', 'OK', 'FAILED', 'LATENCY'],
      items.map((t) => [
        t.variant === null ? t.route : `${t.route} (${t.variant})`,
        `${t.provider}/${t.model}`,
        t.remainingMs > 0 ? `${t.state} for ${Math.ceil(t.remainingMs / 1000)} s` : t.state,
        t.succeeded,
        t.failed,
        t.latencyMs === null ? null : `${Math.round(t.latencyMs)} ms`,
      ]),
    ),
  );
};

/** Values of the variables that the file names; the server gets those and no others. */
const variablesIn = (file: string, inherited: Context['configuration']['inherited']): Record<string, string> =>
  Object.fromEntries(
    [...file.matchAll(/os\.environ\/([A-Za-z_][A-Za-z0-9_]*)/g)].flatMap(([, name = '']) => {
      const value = inherited[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );

export const importFile: Run<{ dryRun?: boolean }> = async (context, [path = ''], { dryRun = false }) => {
  const file = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new HoldfastError('local.path_invalid', `Cannot read ${path}.`, { path }, { cause });
  });
  const client = await connect(context);
  const variables = variablesIn(file, context.configuration.inherited);
  const done = await client.importGateway({ body: { text: file, variables, dryRun } });
  context.output.result(done, ({ providers, routes, ignored }) =>
    [
      `providers: ${providers.join(', ') || 'none'}`,
      `routes: ${routes.join(', ') || 'none'}`,
      ...ignored.map((what) => `ignored: ${what}`),
      ...(dryRun ? ['Nothing was changed.'] : []),
    ].join('\n'),
  );
};

export const showCache: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(
    await client.cacheStats(),
    ({ entries, bytes, semanticEntries }) =>
      `${entries} answers, ${formatBytes(bytes)}; ${semanticEntries} can be found by meaning`,
  );
};

export const purgeCache: Run<{ model?: string }> = async (context, _args, { model }) => {
  const client = await connect(context);
  context.output.result(await client.purgeCache({ query: { model } }), ({ removed }) => `Forgot ${removed} answers.`);
};
