import { type Clock, HoldfastError, type Log, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit, type Principal } from '@holdfast/identity';
import { sql } from 'kysely';
import { z } from 'zod';
import type { EventSink } from '../events/event.ts';
import type { RunScopes } from './runaway.ts';

export const killSubjects = ['workspace', 'key', 'agent', 'run'] as const;
export type KillSubject = (typeof killSubjects)[number];

export interface KillSwitch {
  readonly id: string;
  readonly subject: KillSubject;
  readonly subjectId: string;
  readonly reason: string;
  readonly createdAt: Date;
  readonly createdBy: string;
  readonly liftedAt: Date | null;
}

export interface KillOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
}

/** Kill switches in force that one workspace may have. */
const mostInForce = 10_000;

const mostRemembered = 1_000;

/** Carries each change to every process. */
const channel = 'holdfast_gateway_kill';

const change = z.object({
  id: z.string(),
  workspaceId: z.string(),
  subject: z.enum(killSubjects),
  subjectId: z.string(),
  reason: z.string(),
  lifted: z.boolean(),
});
type Change = z.output<typeof change>;

interface Registered {
  readonly scopes: RunScopes;
  readonly abort: (error: HoldfastError) => void;
}

const nameOf = (workspaceId: string, subject: KillSubject, subjectId: string): string =>
  `${workspaceId}\0${subject}\0${subjectId}`;

const columns = ['id', 'subject', 'subject_id', 'reason', 'created_at', 'created_by', 'lifted_at'] as const;

interface KillRow {
  readonly id: string;
  readonly subject: KillSubject;
  readonly subject_id: string;
  readonly reason: string;
  readonly created_at: Date;
  readonly created_by: string;
  readonly lifted_at: Date | null;
}

const view = (row: KillRow): KillSwitch => ({
  id: row.id,
  subject: row.subject,
  subjectId: row.subject_id,
  reason: row.reason,
  createdAt: row.created_at,
  createdBy: row.created_by,
  liftedAt: row.lifted_at,
});

/**
 * Stops a key, an agent, a run or a whole workspace: calls under way end at once, streams too, and no new one begins,
 * in every process. What is in force is held in memory; a process that lost its connection reads it anew when it is back.
 */
export class KillSwitches {
  readonly #o: KillOptions;
  readonly #calls = new Set<Registered>();
  readonly #unlisten: () => void;
  #inForce = new Map<string, Change>();
  /** Ids of switches that were lifted lately: the news of one that was set may come in after it was lifted here. */
  readonly #lifted = new Set<string>();
  /** Changes that arrive while the switches are being read. */
  #meanwhile: Change[] | null = null;
  #reading: Promise<void> = Promise.resolve();

  constructor(options: KillOptions) {
    this.#o = options;
    this.#unlisten = options.database.listen(channel, {
      message: (payload) => this.#received(payload),
      reset: () =>
        void this.load().catch((error: unknown) => this.#o.log.error('kill switches were not read', { error })),
    });
  }

  /** Reads what is in force; calls that it stops end. */
  load(): Promise<void> {
    this.#reading = this.#reading.catch(() => undefined).then(() => this.#read());
    return this.#reading;
  }

  /** Why no call may be made for these, or null. Costs nothing while no switch is set. */
  refusal(scopes: RunScopes): HoldfastError | null {
    if (this.#inForce.size === 0) return null;
    const { workspaceId, keyId, agentId, runId } = scopes;
    const names: readonly (readonly [KillSubject, string | null])[] = [
      ['workspace', workspaceId],
      ['key', keyId],
      ['agent', agentId],
      ['run', runId],
    ];
    for (const [subject, id] of names) {
      const found = id === null ? undefined : this.#inForce.get(nameOf(workspaceId, subject, id));
      if (found !== undefined) return refused(found);
    }
    return null;
  }

  /** Calls `abort` once when one of these is killed, at once when that was while the call was being admitted. */
  onKill(scopes: RunScopes, abort: (error: HoldfastError) => void): () => void {
    const killed = this.refusal(scopes);
    if (killed !== null) {
      abort(killed);
      return () => undefined;
    }
    const entry = { scopes, abort };
    this.#calls.add(entry);
    return () => this.#calls.delete(entry);
  }

  /**
   * Sets one and resolves when it is durable and in force here; other processes follow at once. One that is in force
   * already is answered as it is. Errors: `quota.exceeded`.
   */
  async set(by: Principal, subject: KillSubject, subjectId: string, reason: string): Promise<KillSwitch> {
    const at = new Date(this.#o.clock.now());
    const id = newId('kil', this.#o.clock);
    const { workspaceId } = by;
    const { row, made } = await this.#o.database.kysely.transaction().execute(async (db) => {
      const { count } = await db
        .selectFrom('kill_switches')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('workspace_id', '=', workspaceId)
        .where('lifted_at', 'is', null)
        .executeTakeFirstOrThrow();
      if (count >= mostInForce)
        throw new HoldfastError('quota.exceeded', undefined, { quota: 'kill switches', limit: mostInForce });
      const values = { id, workspace_id: workspaceId, subject, subject_id: subjectId, reason, created_at: at };
      const inserted = await db
        .insertInto('kill_switches')
        .values({ ...values, created_by: by.keyId })
        .onConflict((c) =>
          c.columns(['workspace_id', 'subject', 'subject_id']).where('lifted_at', 'is', null).doNothing(),
        )
        .returning(columns)
        .executeTakeFirst();
      if (inserted === undefined) {
        const known = await db
          .selectFrom('kill_switches')
          .select(columns)
          .where('workspace_id', '=', workspaceId)
          .where('subject', '=', subject)
          .where('subject_id', '=', subjectId)
          .where('lifted_at', 'is', null)
          .executeTakeFirstOrThrow();
        return { row: known, made: false };
      }
      await audit(db, at, { ...by, action: 'kill.set', target: id, details: { subject, subjectId, reason } });
      await notify(db, { id, workspaceId, subject, subjectId, reason, lifted: false });
      return { row: inserted, made: true };
    });
    this.#apply({ id: row.id, workspaceId, subject, subjectId, reason: row.reason, lifted: false });
    if (made) this.#publish(workspaceId, 'kill.set', row);
    return view(row);
  }

  /** Errors: `resource.not_found`, also for one that was lifted before. */
  async lift(by: Principal, id: string): Promise<void> {
    const at = new Date(this.#o.clock.now());
    const { workspaceId } = by;
    const row = await this.#o.database.kysely.transaction().execute(async (db) => {
      const lifted = await db
        .updateTable('kill_switches')
        .set({ lifted_at: at })
        .where('workspace_id', '=', workspaceId)
        .where('id', '=', id)
        .where('lifted_at', 'is', null)
        .returning(columns)
        .executeTakeFirst();
      if (lifted === undefined) throw new HoldfastError('resource.not_found', undefined, { id });
      await audit(db, at, { ...by, action: 'kill.lift', target: id, details: {} });
      await notify(db, changeOf(workspaceId, lifted, true));
      return lifted;
    });
    this.#apply(changeOf(workspaceId, row, true));
    this.#publish(workspaceId, 'kill.lifted', row);
  }

  /** Newest first, at most `limit`; those that were lifted only if asked for. */
  async list(by: Principal, o: { readonly lifted: boolean; readonly limit: number }): Promise<KillSwitch[]> {
    let query = this.#o.database.kysely
      .selectFrom('kill_switches')
      .select(columns)
      .where('workspace_id', '=', by.workspaceId);
    if (!o.lifted) query = query.where('lifted_at', 'is', null);
    return (await query.orderBy('id', 'desc').limit(o.limit).execute()).map(view);
  }

  async close(): Promise<void> {
    this.#unlisten();
    await this.#reading.catch(() => undefined);
  }

  async #read(): Promise<void> {
    this.#meanwhile = [];
    try {
      const rows = await this.#o.database.kysely
        .selectFrom('kill_switches')
        .select([...columns, 'workspace_id'])
        .where('lifted_at', 'is', null)
        .execute();
      const read = rows.map((row) => changeOf(row.workspace_id, row, false));
      this.#inForce = new Map(read.map((one) => [nameOf(one.workspaceId, one.subject, one.subjectId), one]));
    } finally {
      const later = this.#meanwhile ?? [];
      this.#meanwhile = null;
      for (const one of later) this.#apply(one);
    }
    for (const call of [...this.#calls]) {
      const refusal = this.refusal(call.scopes);
      if (refusal !== null) this.#stop(call, refusal);
    }
  }

  #received(payload: string): void {
    try {
      this.#apply(change.parse(JSON.parse(payload)));
    } catch (error) {
      this.#o.log.error('a kill switch was not understood', { error });
    }
  }

  #apply(one: Change): void {
    this.#meanwhile?.push(one);
    const name = nameOf(one.workspaceId, one.subject, one.subjectId);
    if (one.lifted) {
      this.#rememberLifted(one.id);
      // An older switch that is lifted late leaves a newer one in force.
      if (this.#inForce.get(name)?.id === one.id) this.#inForce.delete(name);
      return;
    }
    if (this.#lifted.has(one.id)) return;
    this.#inForce.set(name, one);
    for (const call of [...this.#calls]) if (concerns(one, call.scopes)) this.#stop(call, refused(one));
  }

  #rememberLifted(id: string): void {
    this.#lifted.add(id);
    for (const oldest of this.#lifted) {
      if (this.#lifted.size <= mostRemembered) break;
      this.#lifted.delete(oldest);
    }
  }

  #stop(call: Registered, error: HoldfastError): void {
    if (!this.#calls.delete(call)) return;
    call.abort(error);
  }

  #publish(workspaceId: string, type: 'kill.set' | 'kill.lifted', row: KillRow): void {
    const data = { kill: row.id, subject: row.subject, subjectId: row.subject_id, reason: row.reason };
    this.#o.events.publish({ workspaceId, type, subject: row.subject_id, data, once: null });
  }
}

const changeOf = (workspaceId: string, row: KillRow, lifted: boolean): Change => ({
  id: row.id,
  workspaceId,
  subject: row.subject,
  subjectId: row.subject_id,
  reason: row.reason,
  lifted,
});

const notify = async (db: Database['kysely'], one: Change): Promise<void> => {
  await sql`select pg_notify(${channel}, ${JSON.stringify(one)})`.execute(db);
};

const refused = ({ id, subject, subjectId, reason }: Change): HoldfastError => {
  const text = reason === '' ? '' : `: ${reason}`;
  return new HoldfastError('runaway.killed', `The ${subject} was stopped${text}.`, {
    kill: id,
    subject,
    subjectId,
    reason,
  });
};

const concerns = (one: Change, scopes: RunScopes): boolean => {
  if (one.workspaceId !== scopes.workspaceId) return false;
  switch (one.subject) {
    case 'workspace':
      return true;
    case 'key':
      return scopes.keyId === one.subjectId;
    case 'agent':
      return scopes.agentId === one.subjectId;
    case 'run':
      return scopes.runId === one.subjectId;
  }
};
