import { HoldfastError } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { memberId } from '@holdfast/identity';

/** What budgets, caps and kill switches can be about. */
export type SubjectKind = 'workspace' | 'team' | 'user' | 'key' | 'agent' | 'run';

const keyId = async (database: Database, workspaceId: string, id: string): Promise<string> => {
  const row = await database.kysely
    .selectFrom('api_keys')
    .select('id')
    .where('workspace_id', '=', workspaceId)
    .where('id', '=', id)
    .executeTakeFirst();
  if (row === undefined)
    throw new HoldfastError('request.invalid', `There is no key ${id.slice(0, 64)}.`, { field: 'subjectId' });
  return row.id;
};

/** Agents are also named by headers of callers, without being known. */
const agentId = async (database: Database, workspaceId: string, text: string): Promise<string> => {
  try {
    return await memberId(database.kysely, 'agents', workspaceId, text);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'request.invalid') return text;
    throw error;
  }
};

/**
 * The id that calls have for a subject: teams and users by id or name, agents by id, name or what the header
 * `holdfast-agent` says, keys by id, runs as they are. Errors: `request.invalid` for what the workspace does not have.
 */
export const subjectIdOf = async (
  database: Database,
  workspaceId: string,
  kind: SubjectKind,
  text: string,
): Promise<string> => {
  switch (kind) {
    case 'team':
      return memberId(database.kysely, 'teams', workspaceId, text);
    case 'user':
      return memberId(database.kysely, 'users', workspaceId, text);
    case 'agent':
      return agentId(database, workspaceId, text);
    case 'key':
      return keyId(database, workspaceId, text);
    case 'workspace':
      return workspaceId;
    case 'run':
      return text;
  }
};
