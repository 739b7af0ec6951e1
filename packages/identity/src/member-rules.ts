import { HoldfastError } from '@holdfast/core';
import type { Schema } from '@holdfast/db';
import type { Kysely } from 'kysely';

/** Tables of what belongs to a workspace and can be named by keys. */
export type MemberTable = 'teams' | 'agents' | 'users';

/** Errors: `quota.exceeded`. */
export const refuseWhenFull = async (
  db: Kysely<Schema>,
  table: MemberTable,
  workspaceId: string,
  limit: number,
): Promise<void> => {
  const { count } = await db
    .selectFrom(table)
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('workspace_id', '=', workspaceId)
    .executeTakeFirstOrThrow();
  if (count >= limit) throw new HoldfastError('quota.exceeded', undefined, { quota: table, limit });
};

/** For the row that an insert did not make, since the name is taken. Errors: `resource.conflict`. */
export function refuseWhenTaken<T>(row: T | undefined, what: string, name: string): asserts row is T {
  if (row === undefined) throw new HoldfastError('resource.conflict', `A ${what} of this name exists.`, { name });
}

/** PostgreSQL's codes for a row that others refer to. */
const referred = ['23503', '23001'];

const isReferred = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && referred.includes(error.code);

/** Errors: `resource.conflict` when the removal is held back by what refers to it. */
export const refuseWhenUsed = async (what: string, id: string, remove: () => Promise<void>): Promise<void> => {
  try {
    await remove();
  } catch (error) {
    if (!isReferred(error)) throw error;
    throw new HoldfastError('resource.conflict', `The ${what} is still named by others.`, { id }, { cause: error });
  }
};

/**
 * The id of the member with this id or name. An id wins over a name that looks like it.
 * Errors: `request.invalid` that names the field, for one of another workspace too.
 */
export const memberId = async (
  db: Kysely<Schema>,
  table: MemberTable,
  workspaceId: string,
  idOrName: string,
): Promise<string> => {
  const rows = await db
    .selectFrom(table)
    .select(['id', 'name'])
    .where('workspace_id', '=', workspaceId)
    .where((e) => e.or([e('id', '=', idOrName), e('name', '=', idOrName)]))
    .orderBy('id')
    .limit(2)
    .execute();
  const row = rows.find(({ id }) => id === idOrName) ?? rows[0];
  if (row === undefined) {
    const what = table.slice(0, -1);
    throw new HoldfastError('request.invalid', `There is no ${what} ${idOrName.slice(0, 64)}.`, { field: what });
  }
  return row.id;
};
