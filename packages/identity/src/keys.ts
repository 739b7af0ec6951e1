import type { ApiKey, KeyRole } from '@holdfast/contract';
import { type Clock, HoldfastError, type RandomBytes, type Secret } from '@holdfast/core';
import type { Database, Schema } from '@holdfast/db';
import { type Kysely, sql } from 'kysely';
import { audit } from './audit.ts';
import { type Authenticator, revokedChannel } from './authenticator.ts';
import { keyHint, newKey } from './key-text.ts';
import { type MemberTable, memberId } from './member-rules.ts';
import type { Principal } from './principal.ts';

interface KeyRow {
  readonly id: string;
  readonly name: string;
  readonly role: KeyRole;
  readonly user_id: string | null;
  readonly team_id: string | null;
  readonly agent_id: string | null;
  readonly run_id: string | null;
  readonly model_routes: string[] | null;
  readonly expires_at: Date | null;
  readonly created_at: Date;
  readonly last_used_at: Date | null;
  readonly revoked_at: Date | null;
}

const bonds = ['user_id', 'team_id', 'agent_id', 'run_id', 'model_routes', 'expires_at'] as const;
const columns = ['id', 'name', 'role', ...bonds, 'created_at', 'last_used_at', 'revoked_at'] as const;

/** What a new key is; a team, agent or user is given by id or name. */
export interface NewKey {
  readonly name: string;
  readonly role: KeyRole;
  /** Whoever makes the key, unless told. */
  readonly user?: string | undefined;
  readonly team?: string | undefined;
  readonly agent?: string | undefined;
  readonly runId?: string | undefined;
  readonly modelRoutes?: readonly string[] | undefined;
  /** ISO 8601. */
  readonly expiresAt?: string | undefined;
}

const view = (row: KeyRow): ApiKey => ({
  id: row.id,
  name: row.name,
  role: row.role,
  hint: keyHint(row.id),
  userId: row.user_id,
  teamId: row.team_id,
  agentId: row.agent_id,
  runId: row.run_id,
  modelRoutes: row.model_routes,
  expiresAt: row.expires_at?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
  lastUsedAt: row.last_used_at?.toISOString() ?? null,
  revokedAt: row.revoked_at?.toISOString() ?? null,
});

const bondsOf = async (db: Kysely<Schema>, by: Principal, input: NewKey) => {
  const id = (table: MemberTable, given: string | undefined, otherwise: string | null) =>
    given === undefined ? otherwise : memberId(db, table, by.workspaceId, given);
  return {
    user_id: await id('users', input.user, by.userId),
    team_id: await id('teams', input.team, null),
    agent_id: await id('agents', input.agent, null),
    run_id: input.runId ?? null,
    model_routes: input.modelRoutes === undefined ? null : [...input.modelRoutes],
  };
};

/** Keys in force that one workspace may have. */
const mostKeys = 1_000;

export class Keys {
  readonly #database: Database;
  readonly #authenticator: Authenticator;
  readonly #clock: Clock;
  readonly #random: RandomBytes;

  constructor(database: Database, authenticator: Authenticator, clock: Clock, random: RandomBytes) {
    this.#database = database;
    this.#authenticator = authenticator;
    this.#clock = clock;
    this.#random = random;
  }

  /** The only time that the text of the key is known. Errors: `quota.exceeded`, `request.invalid`. */
  async create(by: Principal, input: NewKey): Promise<{ key: ApiKey; text: Secret }> {
    const { id, text, hash } = newKey(this.#random);
    const at = new Date(this.#clock.now());
    const expiresAt = input.expiresAt === undefined ? null : new Date(input.expiresAt);
    if (expiresAt !== null && expiresAt <= at)
      throw new HoldfastError('request.invalid', 'The key would have expired already.', { field: 'expiresAt' });
    const row = await this.#database.kysely.transaction().execute(async (db) => {
      const { count } = await db
        .selectFrom('api_keys')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('workspace_id', '=', by.workspaceId)
        .where('revoked_at', 'is', null)
        .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', at)]))
        .executeTakeFirstOrThrow();
      if (count >= mostKeys) throw new HoldfastError('quota.exceeded', undefined, { quota: 'keys', limit: mostKeys });
      const values = { id, workspace_id: by.workspaceId, secret_hash: hash, created_at: at, expires_at: expiresAt };
      const made = await db
        .insertInto('api_keys')
        .values({ ...values, name: input.name, role: input.role, ...(await bondsOf(db, by, input)) })
        .returning(columns)
        .executeTakeFirstOrThrow();
      await audit(db, at, { ...by, action: 'key.create', target: id, details: { ...input } });
      return made;
    });
    return { key: view(row), text };
  }

  /** Newest first; the cursor is the last id of a page. */
  async list(
    by: Principal,
    page: { limit: number; cursor: string | undefined },
  ): Promise<{ items: ApiKey[]; cursor: string | null }> {
    let query = this.#database.kysely.selectFrom('api_keys').select(columns).where('workspace_id', '=', by.workspaceId);
    if (page.cursor !== undefined) query = query.where('id', '<', page.cursor);
    const rows = await query
      .orderBy('id', 'desc')
      .limit(page.limit + 1)
      .execute();
    const items = rows.slice(0, page.limit).map(view);
    return { items, cursor: rows.length > page.limit ? (items.at(-1)?.id ?? null) : null };
  }

  /** Takes effect at once. Errors: `resource.not_found`, also for a key of another workspace or one revoked before. */
  async revoke(by: Principal, keyId: string): Promise<void> {
    const at = new Date(this.#clock.now());
    await this.#database.kysely.transaction().execute(async (db) => {
      const row = await db
        .updateTable('api_keys')
        .set({ revoked_at: at })
        .where('workspace_id', '=', by.workspaceId)
        .where('id', '=', keyId)
        .where('revoked_at', 'is', null)
        .returning('id')
        .executeTakeFirst();
      if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id: keyId });
      await audit(db, at, { ...by, action: 'key.revoke', target: keyId, details: {} });
      await sql`select pg_notify(${revokedChannel}, ${keyId})`.execute(db);
    });
    this.#authenticator.forget(keyId);
  }
}
