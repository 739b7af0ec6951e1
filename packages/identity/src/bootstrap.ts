import { type Clock, newId, type RandomBytes, type Secret } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit } from './audit.ts';
import { newKey } from './key-text.ts';

export const defaultWorkspace = 'default';

/** The workspace of that name, made with its first user when it is missing. Safe to call from many processes at once. */
export const ensureWorkspace = async (
  database: Database,
  clock: Clock,
  name: string = defaultWorkspace,
): Promise<{ workspaceId: string; userId: string }> =>
  database.kysely.transaction().execute(async (db) => {
    const now = new Date(clock.now());
    await db
      .insertInto('workspaces')
      .values({ id: newId('ws', clock), name, created_at: now })
      .onConflict((c) => c.column('name').doNothing())
      .execute();
    const { id: workspaceId } = await db
      .selectFrom('workspaces')
      .select('id')
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirstOrThrow();
    const user = await db
      .selectFrom('users')
      .select('id')
      .where('workspace_id', '=', workspaceId)
      .orderBy('id')
      .limit(1)
      .executeTakeFirst();
    if (user !== undefined) return { workspaceId, userId: user.id };
    const userId = newId('usr', clock);
    await db
      .insertInto('users')
      .values({ id: userId, workspace_id: workspaceId, name: 'owner', created_at: now })
      .execute();
    return { workspaceId, userId };
  });

/**
 * A new owner key for whoever can write to the database anyway: the local command line on first use, or after its
 * credentials were lost.
 */
export const issueOwnerKey = async (
  database: Database,
  clock: Clock,
  random: RandomBytes,
  o: { workspaceId: string; userId: string; name: string },
): Promise<Secret> => {
  const { id, text, hash } = newKey(random);
  const at = new Date(clock.now());
  await database.kysely.transaction().execute(async (db) => {
    const values = { id, workspace_id: o.workspaceId, user_id: o.userId, name: o.name, secret_hash: hash };
    await db
      .insertInto('api_keys')
      .values({ ...values, role: 'owner', created_at: at })
      .execute();
    const entry = { workspaceId: o.workspaceId, keyId: null, userId: o.userId };
    await audit(db, at, { ...entry, action: 'key.issue', target: id, details: { name: o.name, role: 'owner' } });
  });
  return text;
};
