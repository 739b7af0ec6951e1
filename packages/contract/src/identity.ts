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
  userId: z.string().nullable(),
  teamId: z.string().nullable(),
  agentId: z.string().nullable(),
  /** The one run that it is for. */
  runId: z.string().nullable(),
  /** Model routes and models that it may ask for; null: any. */
  modelRoutes: z.array(z.string()).nullable(),
  expiresAt: z.string().nullable(),
  createdAt: z.string(),
  /** Kept to the minute. */
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
});

export const team = z.object({ id: z.string(), name: z.string(), createdAt: z.string() });

/** A member of a workspace that may be of a team. */
const member = team.extend({ teamId: z.string().nullable() });
export const agent = member;
export const user = member;

/** An id or a name. */
const reference = z.string().min(1).max(128);

/** What callers name their runs; it appears in ledgers, traces and events. */
export const runId = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.:-]*$/, 'letters, digits and _.:-');

const modelPattern = z
  .string()
  .min(1)
  .max(256)
  .regex(/^[^\p{Cc}]+$/u, 'no control characters');

const page = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(100),
  cursor: z.string().max(256).optional(),
});

/** `user` is whoever makes the key unless told; `team`, `agent` and `user` are ids or names. */
const newKey = z.object({
  name: label,
  role: keyRole.default('developer'),
  user: reference.optional(),
  team: reference.optional(),
  agent: reference.optional(),
  runId: runId.optional(),
  /** A name that ends in `*` allows all that begin like it. */
  modelRoutes: z.array(modelPattern).min(1).max(100).optional(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
});

const newMember = z.object({ name: label, team: reference.optional() });
const id = z.object({ id: z.string().max(128) });

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
      teamId: z.string().nullable(),
      agentId: z.string().nullable(),
      runId: z.string().nullable(),
      modelRoutes: z.array(z.string()).nullable(),
    }),
  },
  getWorkspace: {
    method: 'GET',
    path: '/api/workspaces/{id}',
    role: 'viewer',
    answer: 'json',
    params: id,
    summary: 'Read the workspace of this key, by id or name.',
    response: workspace,
  },
  createKey: {
    method: 'POST',
    path: '/api/keys',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary:
      'Create an API key, bound to a user, team, agent or run if told. Its text is in this answer and nowhere else.',
    body: newKey,
    response: apiKey.extend({ key: z.string() }),
  },
  listKeys: {
    method: 'GET',
    path: '/api/keys',
    role: 'viewer',
    answer: 'json',
    summary: 'List the keys of the workspace, newest first, without their text.',
    query: page,
    response: z.object({ items: z.array(apiKey), cursor: z.string().nullable() }),
  },
  revokeKey: {
    method: 'DELETE',
    path: '/api/keys/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Revoke a key, at once and for good.',
  },
  createTeam: {
    method: 'POST',
    path: '/api/teams',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Create a team.',
    body: z.object({ name: label }),
    response: team,
  },
  listTeams: {
    method: 'GET',
    path: '/api/teams',
    role: 'viewer',
    answer: 'json',
    summary: 'List the teams of the workspace by name.',
    response: z.object({ items: z.array(team) }),
  },
  removeTeam: {
    method: 'DELETE',
    path: '/api/teams/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove a team, by id or name, that no user, agent or key is of.',
  },
  createAgent: {
    method: 'POST',
    path: '/api/agents',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Make an agent known, so that keys and budgets can name it.',
    body: newMember,
    response: agent,
  },
  listAgents: {
    method: 'GET',
    path: '/api/agents',
    role: 'viewer',
    answer: 'json',
    summary: 'List the agents of the workspace by name.',
    query: page,
    response: z.object({ items: z.array(agent), cursor: z.string().nullable() }),
  },
  removeAgent: {
    method: 'DELETE',
    path: '/api/agents/{id}',
    role: 'owner',
    answer: 'empty',
    status: 204,
    params: id,
    summary: 'Remove an agent, by id or name, that no key is bound to.',
  },
  createUser: {
    method: 'POST',
    path: '/api/users',
    role: 'owner',
    answer: 'json',
    status: 201,
    summary: 'Create a user. Users have no password: what they may do is what their keys may do.',
    body: newMember,
    response: user,
  },
  listUsers: {
    method: 'GET',
    path: '/api/users',
    role: 'viewer',
    answer: 'json',
    summary: 'List the users of the workspace, oldest first.',
    query: page,
    response: z.object({ items: z.array(user), cursor: z.string().nullable() }),
  },
});

export type KeyRole = z.output<typeof keyRole>;
export type Workspace = z.output<typeof workspace>;
export type ApiKey = z.output<typeof apiKey>;
export type Team = z.output<typeof team>;
export type Agent = z.output<typeof agent>;
export type User = z.output<typeof user>;
