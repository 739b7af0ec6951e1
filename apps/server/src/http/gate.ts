import type { IncomingMessage } from 'node:http';
import type { RouteRole } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type Identity, includesRole, type Principal } from '@holdfast/identity';

/** Google's clients may also put the key into the address; nowhere else is it looked for there. */
const keyInAddress = (url: string): string | null =>
  /^\/(v1beta\/|v1\/models\/[^?]*:)/.test(url) ? new URL(url, 'http://localhost').searchParams.get('key') : null;

/**
 * The key of a request: `Authorization: Bearer`, `x-api-key` as Anthropic's clients send it, or `x-goog-api-key` and
 * `?key=` as Google's do.
 */
export const keyOf = (incoming: IncomingMessage): string | null => {
  const { authorization, 'x-api-key': apiKey, 'x-goog-api-key': googleKey } = incoming.headers;
  if (authorization !== undefined) return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
  if (typeof apiKey === 'string') return apiKey;
  return typeof googleKey === 'string' ? googleKey : keyInAddress(incoming.url ?? '/');
};

/** Errors: `auth.missing`, `auth.invalid`, `auth.forbidden`. */
export const admit = async (
  identity: Identity,
  key: string | null,
  role: Exclude<RouteRole, 'public'>,
): Promise<Principal> => {
  const principal = await identity.authenticate(key);
  if (!includesRole(principal.role, role))
    throw new HoldfastError('auth.forbidden', `This needs the role ${role}; the key has ${principal.role}.`, {
      needed: role,
      role: principal.role,
    });
  return principal;
};
