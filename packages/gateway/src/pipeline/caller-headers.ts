import type { IncomingHttpHeaders } from 'node:http';
import { HoldfastError } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';
import type { Endpoint } from '../doors/endpoint.ts';
import type { Scopes } from '../ledger/ledger.ts';

/** What callers may say of a call beside its body. */
export interface CallerFacts {
  readonly scopes: Scopes;
  readonly step: string | null;
  readonly conversation: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly idempotencyKey: string | null;
}

const maxIdLength = 128;
const maxTags = 16;

const textHeader = (headers: IncomingHttpHeaders, name: string, maxLength: number): string | null => {
  const value = headers[name];
  if (typeof value !== 'string' || value === '') return null;
  if (value.length > maxLength || !/^[\x20-\x7e]+$/.test(value))
    throw new HoldfastError('request.invalid', `The header ${name} is not valid.`, { field: name });
  return value;
};

/** `name=value, name=value`. */
const tagsOf = (headers: IncomingHttpHeaders): Record<string, string> => {
  const text = textHeader(headers, 'holdfast-tags', 8_192);
  if (text === null) return {};
  const pairs = text.split(',').map((pair) => {
    const [name = '', ...value] = pair.split('=');
    return [name.trim(), value.join('=').trim()] as const;
  });
  const wrong = pairs.some(([name, value]) => name === '' || name.length > 64 || value.length > 256);
  if (wrong || pairs.length > maxTags)
    throw new HoldfastError('request.invalid', `holdfast-tags: at most ${maxTags} pairs name=value.`, {
      field: 'holdfast-tags',
    });
  return Object.fromEntries(pairs);
};

/** What a key is bound to cannot be said otherwise by a header. */
const bound = (key: string | null | undefined, header: string | null): string | null => key ?? header;

/**
 * Who a call is made for: by the key, and where that is not bound by the headers `holdfast-agent` and `holdfast-run`.
 * Errors: `request.invalid`.
 */
export const callerFacts = (headers: IncomingHttpHeaders, principal: Principal, endpoint: Endpoint): CallerFacts => {
  const { workspaceId, keyId, userId, teamId, agentId, runId } = principal;
  const scopes = {
    ...{ workspaceId, keyId, userId, endpoint },
    teamId: teamId ?? null,
    agentId: bound(agentId, textHeader(headers, 'holdfast-agent', maxIdLength)),
    runId: bound(runId, textHeader(headers, 'holdfast-run', maxIdLength)),
  };
  return {
    scopes,
    step: textHeader(headers, 'holdfast-step', maxIdLength),
    conversation: textHeader(headers, 'holdfast-conversation', 256) ?? scopes.runId,
    tags: tagsOf(headers),
    idempotencyKey: textHeader(headers, 'idempotency-key', 255),
  };
};
