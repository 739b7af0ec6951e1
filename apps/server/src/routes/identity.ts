import { identityRoutes } from '@holdfast/contract';
import type { Identity } from '@holdfast/identity';
import { bindEmpty, bindJson } from '../http/bind.ts';

export const bindIdentity = (identity: Identity) => ({
  whoami: bindJson(identityRoutes.whoami, async ({ principal }) => ({
    workspaceId: principal.workspaceId,
    keyId: principal.keyId,
    userId: principal.userId,
    role: principal.role,
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
  revokeKey: bindEmpty(identityRoutes.revokeKey, ({ principal, params }) => identity.keys.revoke(principal, params.id)),
});
