import { HoldfastError } from '@holdfast/core';
import type { z } from 'zod';
import {
  type ProviderSecrets,
  providerSecrets,
  type StoredProvider,
  storedProvider,
} from '../providers/provider-configuration.ts';

/** `request.invalid` that names the fields. Values are not repeated: they may be secrets. */
export const invalidDocument = (what: string, error: z.ZodError): HoldfastError => {
  const issues = error.issues.slice(0, 20).map((issue) => ({
    path: ['body', ...issue.path].join('.').slice(0, 256),
    reason: issue.message.slice(0, 256),
  }));
  const first = issues[0];
  const text = first === undefined ? '' : ` ${first.path}: ${first.reason}.`;
  return new HoldfastError('request.invalid', `${what} is not valid.${text}`, { issues });
};

/**
 * A provider's document, its settings and its secrets apart; `secrets` is null when it has none.
 * Errors: `request.invalid` that names the field.
 */
export const checkProvider = (
  document: Readonly<Record<string, unknown>>,
): { readonly provider: StoredProvider; readonly secrets: ProviderSecrets | null } => {
  const { apiKey, secretAccessKey, sessionToken, ...settings } = document;
  const given = Object.entries({ apiKey, secretAccessKey, sessionToken }).filter(([, value]) => value !== undefined);
  const provider = storedProvider.safeParse(settings);
  const what = `The provider ${String(document['name']).slice(0, 64)}`;
  if (!provider.success) throw invalidDocument(what, provider.error);
  if (given.length === 0) return { provider: provider.data, secrets: null };
  const isBedrock = provider.data.kind === 'bedrock';
  if (given.some(([name]) => (name === 'apiKey') === isBedrock))
    throw new HoldfastError(
      'request.invalid',
      `${what} takes ${isBedrock ? 'secretAccessKey and sessionToken' : 'apiKey'}.`,
      {
        issues: given.map(([name]) => ({ path: `body.${name}`, reason: 'not a secret of this kind' })),
      },
    );
  const secrets = providerSecrets.safeParse(Object.fromEntries(given));
  if (!secrets.success) throw invalidDocument(what, secrets.error);
  return { provider: provider.data, secrets: secrets.data };
};
