import type { Workspace } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { Principal } from './principal.ts';

/** The caller's own workspace by id or name. Errors: `resource.not_found`, for any other one too. */
export const getWorkspace = async (database: Database, by: Principal, idOrName: string): Promise<Workspace> => {
  const row = await database.kysely
    .selectFrom('workspaces')
    .selectAll()
    .where('id', '=', by.workspaceId)
    .where((e) => e.or([e('id', '=', idOrName), e('name', '=', idOrName)]))
    .executeTakeFirst();
  if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id: idOrName.slice(0, 128) });
  return { id: row.id, name: row.name, createdAt: row.created_at.toISOString() };
};
