import { z } from 'zod';
import { routes } from './route.ts';

export const keyRole = z.enum(['owner', 'developer', 'viewer']);

const label = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[^\p{Cc}]+$/u, 'no control characters');

export const workspace = z.object({
  id: z.string(),
  name: z.string(),
  createdAt: z.string(),
});

export const apiKey = z.object({
  id: z.string(),
  name: z.string(),
  role: keyRole,
  /** Start of the key's text, enough to recognise it and no more. */
  hint: z.string(),
  createdAt: z.string(),
  /** Kept to the minute. */
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

export const identityRoutes = routes({
  whoami: {
    method: 'GET',
    path: '/api/whoami',
    role: 'viewer',
    answer: 'json',
    summary: 'Who this key is: its workspace, user and role.',
    response: z.object({
      workspaceId: z.string(),
      keyId: z.string(),
      userId: z.string().nullable(),
      role: keyRole,
    }),
  },
  getWorkspace: {
    method: 'GET',
    path: '/api/workspaces/{id}',
    role: 'viewer',
    answer: 'json',
    params: z.object({ id: z.string().max(128) }),
    summary: 'Read the workspace of this key, by id or name.',
    response: workspace,
  },
  createKey: {
    method: 'POST',
    path: '/api/keys',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Create an API key. Its text is in this answer and nowhere else.',
    body: z.object({ name: label, role: keyRole.default('developer') }),
    response: apiKey.extend({ key: z.string() }),
  },
  listKeys: {
    method: 'GET',
    path: '/api/keys',
    role: 'viewer',
    answer: 'json',
    summary: 'List the keys of the workspace, newest first, without their text.',
    query: z.object({
      limit: z.coerce.number().int().min(1).max(1000).default(100),
      cursor: z.string().max(256).optional(),
    }),
    response: z.object({ items: z.array(apiKey), cursor: z.string().nullable() }),
  },
  revokeKey: {
    method: 'DELETE',
    path: '/api/keys/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: z.object({ id: z.string().max(128) }),
    summary: 'Revoke a key, at once and for good.',
  },
});

export type KeyRole = z.output<typeof keyRole>;
export type Workspace = z.output<typeof workspace>;
export type ApiKey = z.output<typeof apiKey>;
