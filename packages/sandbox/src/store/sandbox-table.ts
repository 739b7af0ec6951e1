import type { Sandbox, SandboxEvent } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Database, SandboxesTable } from '@holdfast/db';
import { type Selectable, sql, type Updateable } from 'kysely';
import type { Scope } from '../service.ts';

export type SandboxRow = Selectable<SandboxesTable>;
export type SandboxPatch = Updateable<SandboxesTable>;

/** Something that happened to a sandbox, written in the same statement as the change it tells of. */
export interface EventNote {
  readonly type: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

export interface Quota {
  readonly maxSandboxes: number;
  readonly maxRunning: number;
  readonly maxRunningMemoryMib: number;
}

const defaultQuota: Quota = { maxSandboxes: 10_000, maxRunning: 64, maxRunningMemoryMib: 65_536 };

/** All SQL of the sandbox layer. Reads and writes on behalf of a caller are scoped by workspace. */
export class SandboxTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  get #db() {
    return this.#database.kysely;
  }

  async registerHost(id: string, name: string): Promise<void> {
    await this.#db
      .insertInto('sandbox_hosts')
      .values({ id, name })
      .onConflict((conflict) => conflict.column('id').doUpdateSet({ name, seen_at: sql`now()` }))
      .execute();
  }

  async insert(rows: readonly SandboxRow[], note: EventNote): Promise<void> {
    await this.#db
      .transaction()
      .execute((transaction) => new SandboxTable({ ...this.#database, kysely: transaction }).insertWithin(rows, note))
      .catch(nameTaken(rows));
  }

  /** As `insert`, in a transaction that the caller has. */
  async insertWithin(rows: readonly SandboxRow[], note: EventNote): Promise<void> {
    await this.#db
      .insertInto('sandboxes')
      .values(rows.map(({ labels, ...row }) => ({ ...row, labels: JSON.stringify(labels) })))
      .execute();
    const events = rows.map((row) => ({
      workspace_id: row.workspace_id,
      sandbox_id: row.id,
      type: note.type,
      data: JSON.stringify(note.data ?? {}),
    }));
    await this.#db.insertInto('sandbox_events').values(events).execute();
  }

  /** Inserts forks and gives their source its new disk chain, all or nothing. */
  async recordFork(source: SandboxRow, children: readonly SandboxRow[]): Promise<void> {
    await this.#db
      .transaction()
      .execute(async (transaction) => {
        const table = new SandboxTable({ ...this.#database, kysely: transaction });
        await table.update(
          source,
          { disk_chain: source.disk_chain },
          { type: 'forked', data: { children: children.map((child) => child.id) } },
        );
        await table.insertWithin(children, { type: 'created', data: { parentId: source.id } });
      })
      .catch(nameTaken(children));
  }

  /** Changes a row and notes the event in one statement. */
  async update(
    row: Pick<SandboxRow, 'id' | 'workspace_id'>,
    patch: SandboxPatch,
    note: EventNote | null,
  ): Promise<void> {
    const change = this.#db
      .updateTable('sandboxes')
      .set(patch)
      .where('id', '=', row.id)
      .where('workspace_id', '=', row.workspace_id);
    if (note === null) {
      await change.execute();
      return;
    }
    await this.#db
      .with('changed', () => change.returning('id'))
      .insertInto('sandbox_events')
      .columns(['workspace_id', 'sandbox_id', 'type', 'data'])
      .expression((q) =>
        q
          .selectFrom('changed')
          .select([
            sql.val(row.workspace_id).as('workspace_id'),
            'id',
            sql.val(note.type).as('type'),
            sql`${JSON.stringify(note.data ?? {})}::jsonb`.as('data'),
          ]),
      )
      .execute();
  }

  async note(row: Pick<SandboxRow, 'id' | 'workspace_id'>, note: EventNote): Promise<void> {
    await this.#db
      .insertInto('sandbox_events')
      .values({
        workspace_id: row.workspace_id,
        sandbox_id: row.id,
        type: note.type,
        data: JSON.stringify(note.data ?? {}),
      })
      .execute();
  }

  async delete(row: Pick<SandboxRow, 'id' | 'workspace_id'>): Promise<void> {
    await this.#db
      .deleteFrom('sandboxes')
      .where('id', '=', row.id)
      .where('workspace_id', '=', row.workspace_id)
      .execute();
  }

  async find(scope: Scope, idOrName: string): Promise<SandboxRow | null> {
    const row = await this.#db
      .selectFrom('sandboxes')
      .selectAll()
      .where('workspace_id', '=', scope.workspaceId)
      .where('state', '<>', 'deleting')
      .where((q) => q.or([q('id', '=', idOrName), q('name', '=', idOrName)]))
      .orderBy(sql`id = ${idOrName}`, 'desc')
      .limit(1)
      .executeTakeFirst();
    return row ?? null;
  }

  /** The row as it is now, whoever's it is: for what the host itself has to do. */
  async reload(id: string): Promise<SandboxRow | null> {
    return (await this.#db.selectFrom('sandboxes').selectAll().where('id', '=', id).executeTakeFirst()) ?? null;
  }

  async onHost(hostId: string): Promise<SandboxRow[]> {
    return this.#db.selectFrom('sandboxes').selectAll().where('host_id', '=', hostId).execute();
  }

  async page(
    scope: Scope,
    limit: number,
    cursor: string | undefined,
    state: string | undefined,
  ): Promise<SandboxRow[]> {
    let query = this.#db
      .selectFrom('sandboxes')
      .selectAll()
      .where('workspace_id', '=', scope.workspaceId)
      .where('state', '<>', 'deleting');
    if (state !== undefined) query = query.where(sql`state`, '=', state);
    // Ids sort by time, so they page in the order of creation.
    if (cursor !== undefined) query = query.where('id', '<', cursor);
    return query.orderBy('id', 'desc').limit(limit).execute();
  }

  async events(scope: Scope, sandboxId: string, after: number, limit: number): Promise<SandboxEvent[]> {
    const rows = await this.#db
      .selectFrom('sandbox_events')
      .selectAll()
      .where('workspace_id', '=', scope.workspaceId)
      .where('sandbox_id', '=', sandboxId)
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      seq: Number(row.seq),
      sandboxId: row.sandbox_id,
      at: row.at.toISOString(),
      type: row.type,
      data: asRecord(row.data),
    }));
  }

  async quota(scope: Scope): Promise<Quota> {
    const row = await this.#db
      .selectFrom('sandbox_quotas')
      .selectAll()
      .where('workspace_id', '=', scope.workspaceId)
      .executeTakeFirst();
    if (row === undefined) return defaultQuota;
    return {
      maxSandboxes: row.max_sandboxes,
      maxRunning: row.max_running,
      maxRunningMemoryMib: row.max_running_memory_mib,
    };
  }
}

const nameTaken =
  (rows: readonly SandboxRow[]) =>
  (error: unknown): never => {
    if (!isNameTaken(error)) throw error;
    throw new HoldfastError('sandbox.name_taken', `The name ${rows[0]?.name ?? ''} is in use.`, {}, { cause: error });
  };

const isNameTaken = (error: unknown): boolean =>
  error instanceof Error &&
  'code' in error &&
  error.code === '23505' &&
  'constraint' in error &&
  error.constraint === 'sandboxes_name';

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

/** A row as the API shows it. */
export function toSandbox(row: SandboxRow, state: Sandbox['state'], lastActiveAt: number): Sandbox {
  return {
    id: row.id,
    name: row.name,
    template: row.template,
    state,
    memoryMib: row.memory_mib,
    vcpus: row.vcpus,
    diskMib: row.disk_mib,
    idleTimeoutMs: Number(row.idle_timeout_ms),
    maxLifetimeMs: Number(row.max_lifetime_ms),
    labels: Object.fromEntries(Object.entries(asRecord(row.labels)).map(([name, value]) => [name, String(value)])),
    parentId: row.parent_id,
    hostId: row.host_id,
    storedBytes: Number(row.stored_bytes),
    createdAt: row.created_at.toISOString(),
    lastActiveAt: new Date(lastActiveAt).toISOString(),
    notice: row.notice,
  };
}
