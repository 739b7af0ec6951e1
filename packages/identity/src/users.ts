import type { User } from '@holdfast/contract';
import { type Clock, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit } from './audit.ts';
import { memberId, refuseWhenFull } from './member-rules.ts';
import type { Principal } from './principal.ts';

/** Users of one workspace. */
const mostUsers = 10_000;

interface UserRow {
  readonly id: string;
  readonly name: string;
  readonly team_id: string | null;
  readonly created_at: Date;
}

const columns = ['id', 'name', 'team_id', 'created_at'] as const;

const view = (row: UserRow): User => ({
  id: row.id,
  name: row.name,
  teamId: row.team_id,
  createdAt: row.created_at.toISOString(),
});

/** People whose keys can be told apart and given budgets. A user has no password: only keys open anything. */
export class Users {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** `team` is an id or a name. Errors: `request.invalid`, `quota.exceeded`. */
  create(by: Principal, input: { readonly name: string; readonly team?: string | undefined }): Promise<User> {
    const at = new Date(this.#clock.now());
    const id = newId('usr', this.#clock);
    return this.#database.kysely.transaction().execute(async (db) => {
      await refuseWhenFull(db, 'users', by.workspaceId, mostUsers);
      const teamId = input.team === undefined ? null : await memberId(db, 'teams', by.workspaceId, input.team);
      const row = await db
        .insertInto('users')
        .values({ id, workspace_id: by.workspaceId, name: input.name, team_id: teamId, created_at: at })
        .returning(columns)
        .executeTakeFirstOrThrow();
      await audit(db, at, { ...by, action: 'user.create', target: id, details: { name: input.name, teamId } });
      return view(row);
    });
  }

  /** Oldest first; the cursor is the last id of a page. */
  async list(
    by: Principal,
    page: { readonly limit: number; readonly cursor: string | undefined },
  ): Promise<{ items: User[]; cursor: string | null }> {
    let query = this.#database.kysely.selectFrom('users').select(columns).where('workspace_id', '=', by.workspaceId);
    if (page.cursor !== undefined) query = query.where('id', '>', page.cursor);
    const rows = await query
      .orderBy('id')
      .limit(page.limit + 1)
      .execute();
    const items = rows.slice(0, page.limit).map(view);
    return { items, cursor: rows.length > page.limit ? (items.at(-1)?.id ?? null) : null };
  }
}
