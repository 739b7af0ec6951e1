import type { Team } from '@holdfast/contract';
import { type Clock, HoldfastError, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit } from './audit.ts';
import { refuseWhenFull, refuseWhenTaken, refuseWhenUsed } from './member-rules.ts';
import type { Principal } from './principal.ts';

/** Teams of one workspace. */
const mostTeams = 1_000;

interface TeamRow {
  readonly id: string;
  readonly name: string;
  readonly created_at: Date;
}

const view = (row: TeamRow): Team => ({ id: row.id, name: row.name, createdAt: row.created_at.toISOString() });

/** Groups of users, agents and keys, to be given budgets together. */
export class Teams {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Errors: `resource.conflict` for a name that is taken, `quota.exceeded`. */
  create(by: Principal, name: string): Promise<Team> {
    const at = new Date(this.#clock.now());
    const id = newId('team', this.#clock);
    return this.#database.kysely.transaction().execute(async (db) => {
      await refuseWhenFull(db, 'teams', by.workspaceId, mostTeams);
      const row = await db
        .insertInto('teams')
        .values({ id, workspace_id: by.workspaceId, name, created_at: at })
        .onConflict((c) => c.columns(['workspace_id', 'name']).doNothing())
        .returning(['id', 'name', 'created_at'])
        .executeTakeFirst();
      refuseWhenTaken(row, 'team', name);
      await audit(db, at, { ...by, action: 'team.create', target: id, details: { name } });
      return view(row);
    });
  }

  /** By name; there are at most 1,000. */
  async list(by: Principal): Promise<Team[]> {
    const rows = await this.#database.kysely
      .selectFrom('teams')
      .select(['id', 'name', 'created_at'])
      .where('workspace_id', '=', by.workspaceId)
      .orderBy('name')
      .limit(mostTeams)
      .execute();
    return rows.map(view);
  }

  /** By id or name. Errors: `resource.not_found`; `resource.conflict` while users, agents or keys are of the team. */
  async remove(by: Principal, idOrName: string): Promise<void> {
    const at = new Date(this.#clock.now());
    await refuseWhenUsed('team', idOrName, () =>
      this.#database.kysely.transaction().execute(async (db) => {
        const row = await db
          .deleteFrom('teams')
          .where('workspace_id', '=', by.workspaceId)
          .where((e) => e.or([e('id', '=', idOrName), e('name', '=', idOrName)]))
          .returning('id')
          .executeTakeFirst();
        if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id: idOrName });
        await audit(db, at, { ...by, action: 'team.remove', target: row.id, details: {} });
      }),
    );
  }
}
