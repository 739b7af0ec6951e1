import { type Clock, HoldfastError } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit, type Principal } from '@holdfast/identity';
import { sql } from 'kysely';

/** What one run may use; null: no cap, or that of the agent or workspace. */
export interface RunCaps {
  readonly maxMicroUsd: number | null;
  readonly maxTokens: number | null;
  readonly maxCalls: number | null;
  readonly maxSteps: number | null;
  /** How often the same tool may be called with the same arguments. */
  readonly maxRepeatedCalls: number | null;
  /** How often the input may grow without anything new at its end. */
  readonly maxUnchangedInputs: number | null;
}

export const noCaps: RunCaps = {
  maxMicroUsd: null,
  maxTokens: null,
  maxCalls: null,
  maxSteps: null,
  maxRepeatedCalls: null,
  maxUnchangedInputs: null,
};

export const capSubjects = ['workspace', 'agent', 'run'] as const;
export type CapSubject = (typeof capSubjects)[number];

export interface ListedCaps extends RunCaps {
  readonly subject: CapSubject;
  /** Empty for the workspace. */
  readonly subjectId: string;
  readonly updatedAt: Date;
}

/** Rows of caps that one workspace may have. */
const mostCaps = 10_000;
const channel = 'holdfast_run_caps';
/** A notification that was lost is made up for after this long. */
const freshMs = 60_000;
const mostWorkspaces = 10_000;

interface CapsRow {
  readonly subject: CapSubject;
  readonly subject_id: string;
  readonly max_micro_usd: number | null;
  readonly max_tokens: number | null;
  readonly max_calls: number | null;
  readonly max_steps: number | null;
  readonly max_repeated_calls: number | null;
  readonly max_unchanged_inputs: number | null;
  readonly updated_at: Date;
}

const view = (row: CapsRow): ListedCaps => ({
  subject: row.subject,
  subjectId: row.subject_id,
  maxMicroUsd: row.max_micro_usd,
  maxTokens: row.max_tokens,
  maxCalls: row.max_calls,
  maxSteps: row.max_steps,
  maxRepeatedCalls: row.max_repeated_calls,
  maxUnchangedInputs: row.max_unchanged_inputs,
  updatedAt: row.updated_at,
});

/** `first` where it says something, else `second`, cap by cap. */
const over = (first: RunCaps | undefined, second: RunCaps): RunCaps =>
  first === undefined
    ? second
    : {
        maxMicroUsd: first.maxMicroUsd ?? second.maxMicroUsd,
        maxTokens: first.maxTokens ?? second.maxTokens,
        maxCalls: first.maxCalls ?? second.maxCalls,
        maxSteps: first.maxSteps ?? second.maxSteps,
        maxRepeatedCalls: first.maxRepeatedCalls ?? second.maxRepeatedCalls,
        maxUnchangedInputs: first.maxUnchangedInputs ?? second.maxUnchangedInputs,
      };

type Table = ReadonlyMap<string, RunCaps>;

interface Entry {
  readonly until: number;
  /** Null while it is being read. */
  table: Table | null;
  readonly read: Promise<Table>;
}

const nameOf = (subject: CapSubject, id: string): string => `${subject}\0${id}`;

/**
 * The caps of all runs. Those of a workspace are read once and kept in memory, so that a call without caps costs nothing;
 * a change takes effect at once here, and in other processes through a notification.
 */
export class RunCapsStore {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #unlisten: () => void;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#unlisten = database.listen(channel, {
      message: (workspaceId) => this.#entries.delete(workspaceId),
      reset: () => this.#entries.clear(),
    });
  }

  /** The caps of a call's run. Waits for the database only when the workspace's caps are not known. */
  of(workspaceId: string, agentId: string | null, runId: string | null): RunCaps | Promise<RunCaps> {
    const pick = (table: Table): RunCaps => {
      if (table.size === 0) return noCaps;
      const workspace = over(table.get(nameOf('workspace', '')), noCaps);
      const agent = agentId === null ? workspace : over(table.get(nameOf('agent', agentId)), workspace);
      return runId === null ? agent : over(table.get(nameOf('run', runId)), agent);
    };
    const known = this.#entries.get(workspaceId);
    if (known !== undefined && known.until > this.#clock.monotonic())
      return known.table === null ? known.read.then(pick) : pick(known.table);
    return this.#load(workspaceId).then(pick);
  }

  /** Makes or replaces the caps of the subject. Errors: `quota.exceeded`. */
  async put(by: Principal, subject: CapSubject, subjectId: string, caps: RunCaps): Promise<ListedCaps> {
    const at = new Date(this.#clock.now());
    const values = {
      max_micro_usd: caps.maxMicroUsd,
      max_tokens: caps.maxTokens,
      max_calls: caps.maxCalls,
      max_steps: caps.maxSteps,
      max_repeated_calls: caps.maxRepeatedCalls,
      max_unchanged_inputs: caps.maxUnchangedInputs,
      updated_at: at,
    };
    const row = await this.#database.kysely.transaction().execute(async (db) => {
      const { count } = await db
        .selectFrom('run_caps')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('workspace_id', '=', by.workspaceId)
        .executeTakeFirstOrThrow();
      if (count >= mostCaps) throw new HoldfastError('quota.exceeded', undefined, { quota: 'caps', limit: mostCaps });
      const put = await db
        .insertInto('run_caps')
        .values({ workspace_id: by.workspaceId, subject, subject_id: subjectId, ...values })
        .onConflict((c) => c.columns(['workspace_id', 'subject', 'subject_id']).doUpdateSet(values))
        .returningAll()
        .executeTakeFirstOrThrow();
      const details = { subject, subjectId, ...caps };
      await audit(db, at, { ...by, action: 'caps.put', target: `${subject}:${subjectId}`, details });
      await sql`select pg_notify(${channel}, ${by.workspaceId})`.execute(db);
      return put;
    });
    this.#entries.delete(by.workspaceId);
    return view(row);
  }

  /** Errors: `resource.not_found`. */
  async remove(by: Principal, subject: CapSubject, subjectId: string): Promise<void> {
    const at = new Date(this.#clock.now());
    await this.#database.kysely.transaction().execute(async (db) => {
      const row = await db
        .deleteFrom('run_caps')
        .where('workspace_id', '=', by.workspaceId)
        .where('subject', '=', subject)
        .where('subject_id', '=', subjectId)
        .returning('subject')
        .executeTakeFirst();
      if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { subject, subjectId });
      await audit(db, at, { ...by, action: 'caps.remove', target: `${subject}:${subjectId}`, details: {} });
      await sql`select pg_notify(${channel}, ${by.workspaceId})`.execute(db);
    });
    this.#entries.delete(by.workspaceId);
  }

  async list(by: Principal, limit: number): Promise<ListedCaps[]> {
    const rows = await this.#database.kysely
      .selectFrom('run_caps')
      .selectAll()
      .where('workspace_id', '=', by.workspaceId)
      .orderBy('subject', 'desc')
      .orderBy('subject_id')
      .limit(limit)
      .execute();
    return rows.map(view);
  }

  close(): void {
    this.#unlisten();
  }

  #load(workspaceId: string): Promise<Table> {
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < mostWorkspaces) break;
      this.#entries.delete(oldest);
    }
    const read = this.#read(workspaceId);
    const entry: Entry = { until: this.#clock.monotonic() + freshMs, table: null, read };
    this.#entries.set(workspaceId, entry);
    read.then(
      (table) => {
        entry.table = table;
      },
      // A failed look-up is not an answer: the next call asks again.
      () => this.#entries.delete(workspaceId),
    );
    return read;
  }

  async #read(workspaceId: string): Promise<Table> {
    const rows = await this.#database.kysely
      .selectFrom('run_caps')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .execute();
    return new Map(rows.map((row) => [nameOf(row.subject, row.subject_id), view(row)]));
  }
}
