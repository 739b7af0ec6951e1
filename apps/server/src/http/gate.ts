import type { IncomingMessage } from 'node:http';
import type { RouteRole } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type Identity, includesRole, type Principal } from '@holdfast/identity';

/** The key of a request: `Authorization: Bearer`, or `x-api-key` as Anthropic's clients send it. */
export const keyOf = (incoming: IncomingMessage): string | null => {
  const { authorization, 'x-api-key': apiKey } = incoming.headers;
  if (authorization !== undefined) return /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '';
  return typeof apiKey === 'string' ? apiKey : null;
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
