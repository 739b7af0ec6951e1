import { HoldfastError } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import type { ProviderStore } from '../providers/provider-store.ts';
import { modelRouteConfiguration } from '../routing/route-configuration.ts';
import { fromLiteLlm, type ImportedConfiguration, liteLlmFile, withVariables } from './litellm-configuration.ts';
import { checkProvider, invalidDocument } from './provider-document.ts';

export interface ImportRequest {
  /** YAML or JSON. */
  readonly text: string;
  /** Values for `os.environ/NAME`. */
  readonly variables: Readonly<Record<string, string>>;
  readonly dryRun: boolean;
}

export interface ImportResult {
  readonly providers: string[];
  readonly routes: string[];
  readonly ignored: string[];
}

const mostIgnored = 200;

const ownFile = z.strictObject({
  providers: z.array(z.record(z.string(), z.unknown())).max(100).default([]),
  routes: z.array(z.record(z.string(), z.unknown())).max(1_000).default([]),
});

/** YAML's aliases can stand for far more than the file holds, so there may be few. */
const readDocument = (text: string): unknown => {
  try {
    const document = parseDocument(text, { uniqueKeys: true, logLevel: 'silent' });
    const [error] = document.errors;
    // The parser's own message quotes the file, which may hold secrets.
    if (error !== undefined)
      throw new HoldfastError('request.invalid', `The file is not YAML (line ${error.linePos?.[0].line ?? '?'}).`, {});
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    throw new HoldfastError('request.invalid', 'The file is not YAML.');
  }
};

const read = ({ text, variables }: ImportRequest): ImportedConfiguration => {
  const document = withVariables(readDocument(text), variables);
  const isLiteLlm = typeof document === 'object' && document !== null && 'model_list' in document;
  const parsed = isLiteLlm ? liteLlmFile.safeParse(document) : ownFile.safeParse(document);
  if (!parsed.success) throw invalidDocument('The file', parsed.error);
  return 'model_list' in parsed.data
    ? fromLiteLlm(liteLlmFile.parse(parsed.data))
    : { ...ownFile.parse(parsed.data), ignored: [] };
};

/**
 * Makes the providers and model routes of a configuration file. All of it is checked before any of it is made. A file is
 * LiteLLM's when it has a `model_list`, else it has `providers` and `routes` as the server's own configuration has.
 * Errors: `request.invalid` that names the field, and those of the store.
 */
export const importConfiguration = async (
  store: ProviderStore,
  by: Principal,
  request: ImportRequest,
): Promise<ImportResult> => {
  const wanted = read(request);
  const providers = wanted.providers.map((document) => checkProvider(document));
  const routes = wanted.routes.map((document) => {
    const parsed = modelRouteConfiguration.safeParse(document);
    if (!parsed.success) throw invalidDocument(`The route ${String(document['name']).slice(0, 64)}`, parsed.error);
    return parsed.data;
  });
  if (!request.dryRun) {
    for (const { provider, secrets } of providers) await store.putProvider(by, provider, secrets);
    for (const route of routes) await store.putRoute(by, route);
  }
  return {
    providers: providers.map(({ provider }) => provider.name),
    routes: routes.map(({ name }) => name),
    ignored: wanted.ignored.slice(0, mostIgnored),
  };
};
