import type { Agent } from '@holdfast/contract';
import { type Clock, HoldfastError, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit } from './audit.ts';
import { memberId, refuseWhenFull, refuseWhenTaken, refuseWhenUsed } from './member-rules.ts';
import type { Principal } from './principal.ts';

/** Agents of one workspace. */
const mostAgents = 10_000;

interface AgentRow {
  readonly id: string;
  readonly name: string;
  readonly team_id: string | null;
  readonly created_at: Date;
}

const columns = ['id', 'name', 'team_id', 'created_at'] as const;

const view = (row: AgentRow): Agent => ({
  id: row.id,
  name: row.name,
  teamId: row.team_id,
  createdAt: row.created_at.toISOString(),
});

/** Programs that call models by themselves, each known by a name, so that what it spends can be told and held back. */
export class Agents {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** `team` is an id or a name. Errors: `request.invalid`, `resource.conflict` for a name that is taken, `quota.exceeded`. */
  create(by: Principal, input: { readonly name: string; readonly team?: string | undefined }): Promise<Agent> {
    const at = new Date(this.#clock.now());
    const id = newId('agt', this.#clock);
    return this.#database.kysely.transaction().execute(async (db) => {
      await refuseWhenFull(db, 'agents', by.workspaceId, mostAgents);
      const teamId = input.team === undefined ? null : await memberId(db, 'teams', by.workspaceId, input.team);
      const row = await db
        .insertInto('agents')
        .values({ id, workspace_id: by.workspaceId, name: input.name, team_id: teamId, created_at: at })
        .onConflict((c) => c.columns(['workspace_id', 'name']).doNothing())
        .returning(columns)
        .executeTakeFirst();
      refuseWhenTaken(row, 'agent', input.name);
      await audit(db, at, { ...by, action: 'agent.create', target: id, details: { name: input.name, teamId } });
      return view(row);
    });
  }

  /** By name; the cursor is the last name of a page. */
  async list(
    by: Principal,
    page: { readonly limit: number; readonly cursor: string | undefined },
  ): Promise<{ items: Agent[]; cursor: string | null }> {
    let query = this.#database.kysely.selectFrom('agents').select(columns).where('workspace_id', '=', by.workspaceId);
    if (page.cursor !== undefined) query = query.where('name', '>', page.cursor);
    const rows = await query
      .orderBy('name')
      .limit(page.limit + 1)
      .execute();
    const items = rows.slice(0, page.limit).map(view);
    return { items, cursor: rows.length > page.limit ? (items.at(-1)?.name ?? null) : null };
  }

  /** By id or name. Errors: `resource.not_found`; `resource.conflict` while keys are bound to the agent. */
  async remove(by: Principal, idOrName: string): Promise<void> {
    const at = new Date(this.#clock.now());
    await refuseWhenUsed('agent', idOrName, () =>
      this.#database.kysely.transaction().execute(async (db) => {
        const row = await db
          .deleteFrom('agents')
          .where('workspace_id', '=', by.workspaceId)
          .where((e) => e.or([e('id', '=', idOrName), e('name', '=', idOrName)]))
          .returning('id')
          .executeTakeFirst();
        if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id: idOrName });
        await audit(db, at, { ...by, action: 'agent.remove', target: row.id, details: {} });
      }),
    );
  }
}
