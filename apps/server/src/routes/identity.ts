import { identityRoutes } from '@holdfast/contract';
import type { Identity } from '@holdfast/identity';
import { bindEmpty, bindJson } from '../http/bind.ts';

export const bindIdentity = (identity: Identity) => ({
  whoami: bindJson(identityRoutes.whoami, async ({ principal }) => ({
    workspaceId: principal.workspaceId,
    keyId: principal.keyId,
    userId: principal.userId,
    role: principal.role,
    teamId: principal.teamId ?? null,
    agentId: principal.agentId ?? null,
    runId: principal.runId ?? null,
    modelRoutes:
      principal.modelRoutes === undefined || principal.modelRoutes === null ? null : [...principal.modelRoutes],
  })),
  getWorkspace: bindJson(identityRoutes.getWorkspace, ({ principal, params }) =>
    identity.getWorkspace(principal, params.id),
  ),
  createKey: bindJson(identityRoutes.createKey, async ({ principal, body }) => {
    const { key, text } = await identity.keys.create(principal, body);
    return { ...key, key: text.reveal() };
  }),
  listKeys: bindJson(identityRoutes.listKeys, ({ principal, query }) =>
    identity.keys.list(principal, { limit: query.limit, cursor: query.cursor }),
  ),
  createTeam: bindJson(identityRoutes.createTeam, ({ principal, body }) => identity.teams.create(principal, body.name)),
  listTeams: bindJson(identityRoutes.listTeams, async ({ principal }) => ({
    items: await identity.teams.list(principal),
  })),
  removeTeam: bindEmpty(identityRoutes.removeTeam, ({ principal, params }) =>
    identity.teams.remove(principal, params.id),
  ),
  createAgent: bindJson(identityRoutes.createAgent, ({ principal, body }) => identity.agents.create(principal, body)),
  listAgents: bindJson(identityRoutes.listAgents, ({ principal, query }) =>
    identity.agents.list(principal, { limit: query.limit, cursor: query.cursor }),
  ),
  removeAgent: bindEmpty(identityRoutes.removeAgent, ({ principal, params }) =>
    identity.agents.remove(principal, params.id),
  ),
  createUser: bindJson(identityRoutes.createUser, ({ principal, body }) => identity.users.create(principal, body)),
  listUsers: bindJson(identityRoutes.listUsers, ({ principal, query }) =>
    identity.users.list(principal, { limit: query.limit, cursor: query.cursor }),
  ),
  revokeKey: bindEmpty(identityRoutes.revokeKey, ({ principal, params }) => identity.keys.revoke(principal, params.id)),
});
