import { type Clock, type Log, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import type { EventSink, GatewayEvent } from './event.ts';

export interface StoredEvent {
  /** Grows with each event of the workspace; where a reader goes on. */
  readonly seq: number;
  readonly id: string;
  readonly at: Date;
  readonly type: string;
  readonly subject: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventQuery {
  /** Only events behind this `seq`. */
  readonly after: number;
  /** Null: all. */
  readonly types: readonly string[] | null;
  readonly limit: number;
}

export interface EventLogOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
}

const channel = 'holdfast_gateway_event';
const batchMs = 50;
const mostInBatch = 200;
/** Events that wait for the database; more are dropped and counted. */
const mostWaiting = 10_000;
const maxDataChars = 16_384;
const maxSubjectChars = 256;
const retentionMs = 30 * 86_400_000;
const sweepMs = 3_600_000;
/** Any fixed number. Batches queue up on it, so that `seq` grows in the order in which events become visible. */
const orderLock = 4_817_203_912;

interface Waiting extends GatewayEvent {
  readonly id: string;
  readonly at: Date;
}

/** JSON of at most 16 KiB; larger facts are left out rather than cut into something else. */
const dataText = (data: GatewayEvent['data']): string => {
  const text = JSON.stringify(data);
  return text.length <= maxDataChars ? text : '{"truncated":true}';
};

/**
 * Everything that happens in the gateway, for 30 days. Events are written in batches off the path of calls, each once
 * for all processes where it says so, together with the deliveries to webhooks that want it.
 */
export class EventLog implements EventSink {
  readonly #o: EventLogOptions;
  readonly #waiting: Waiting[] = [];
  readonly #listeners = new Set<(workspaceId: string | null) => void>();
  readonly #unlisten: () => void;
  #dropped = 0;
  #writing: Promise<void> | null = null;
  #cancelBatch: (() => void) | null = null;
  #cancelSweep: () => void;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: EventLogOptions) {
    this.#o = options;
    this.#unlisten = options.database.listen(channel, {
      message: (workspaceId) => this.#tell(workspaceId),
      reset: () => this.#tell(null),
    });
    this.#cancelSweep = options.clock.after(sweepMs, () => this.#sweepLater());
  }

  publish(event: GatewayEvent): void {
    if (this.#waiting.length >= mostWaiting) {
      this.#dropped += 1;
      return;
    }
    const { clock } = this.#o;
    this.#waiting.push({ ...event, id: newId('evt', clock), at: new Date(clock.now()) });
    this.#schedule();
  }

  /** Calls back when a workspace has new events, or with null when any may have. */
  onEvents(listener: (workspaceId: string | null) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Oldest first. */
  async list(workspaceId: string, { after, types, limit }: EventQuery): Promise<StoredEvent[]> {
    let query = this.#o.database.kysely
      .selectFrom('gateway_events')
      .select(['seq', 'id', 'at', 'type', 'subject', 'data'])
      .where('workspace_id', '=', workspaceId)
      .where('seq', '>', after);
    if (types !== null) query = query.where('type', 'in', [...types]);
    const rows = await query.orderBy('seq').limit(limit).execute();
    return rows.map((row) => ({ ...row, data: isRecord(row.data) ? row.data : {} }));
  }

  /** The `seq` after which the newest `count` events come. */
  async before(workspaceId: string, count: number): Promise<number> {
    const rows = await this.#o.database.kysely
      .selectFrom('gateway_events')
      .select('seq')
      .where('workspace_id', '=', workspaceId)
      .orderBy('seq', 'desc')
      .limit(count + 1)
      .execute();
    return rows.length > count ? (rows.at(-1)?.seq ?? 0) : 0;
  }

  /** Resolves when all that was published so far is written, or could not be. */
  async flush(): Promise<void> {
    while (this.#waiting.length > 0 || this.#writing !== null) {
      const written = await this.#startWriting().then(
        () => true,
        () => false,
      );
      if (!written) return;
    }
  }

  async close(): Promise<void> {
    this.#cancelSweep();
    this.#cancelBatch?.();
    await this.flush();
    this.#cancelBatch?.();
    if (this.#waiting.length > 0) this.#o.log.error('events were not written', { events: this.#waiting.length });
    await this.#sweeping;
    this.#unlisten();
  }

  #tell(workspaceId: string | null): void {
    for (const listener of [...this.#listeners]) listener(workspaceId);
  }

  #schedule(): void {
    this.#cancelBatch ??= this.#o.clock.after(batchMs, () => {
      this.#cancelBatch = null;
      this.#startWriting().catch(() => undefined);
    });
  }

  #startWriting(): Promise<void> {
    if (this.#writing !== null) return this.#writing;
    const writing = this.#write().finally(() => {
      this.#writing = null;
    });
    this.#writing = writing;
    return writing;
  }

  /** Writes one batch. What could not be written stays first in line. */
  async #write(): Promise<void> {
    const batch = this.#waiting.splice(0, mostInBatch);
    try {
      if (batch.length > 0) await this.#insert(batch);
    } catch (error) {
      this.#waiting.unshift(...batch);
      this.#o.log.warn('events wait for the database', { events: this.#waiting.length, reason: String(error) });
      throw error;
    } finally {
      if (this.#dropped > 0) this.#o.log.error('events were dropped', { events: this.#dropped });
      this.#dropped = 0;
      if (this.#waiting.length > 0) this.#schedule();
    }
  }

  async #insert(batch: readonly Waiting[]): Promise<void> {
    const rows = batch.map((event) => ({
      ...{ id: event.id, workspace_id: event.workspaceId, at: event.at, type: event.type, once: event.once },
      subject: event.subject.slice(0, maxSubjectChars),
      data: dataText(event.data),
    }));
    await this.#o.database.kysely.transaction().execute(async (db) => {
      await sql`select pg_advisory_xact_lock(${orderLock})`.execute(db);
      const made = await db
        .insertInto('gateway_events')
        .values(rows)
        .onConflict((c) => c.doNothing())
        .returning(['id', 'workspace_id'])
        .execute();
      if (made.length === 0) return;
      const now = new Date(this.#o.clock.now());
      await sql`
        insert into webhook_deliveries
          (id, workspace_id, webhook_id, event_id, event_type, payload, state, next_at, created_at, updated_at)
        select w.id || '.' || e.id, e.workspace_id, w.id, e.id, e.type,
          json_build_object('id', e.id, 'type', e.type, 'at', to_char(e.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'workspaceId', e.workspace_id, 'subject', e.subject, 'data', e.data)::text,
          'pending', ${now}, ${now}, ${now}
        from gateway_events e
        join webhooks w on w.workspace_id = e.workspace_id and (cardinality(w.types) = 0 or e.type = any(w.types))
        where e.id = any(${made.map(({ id }) => id)})`.execute(db);
      for (const workspaceId of new Set(made.map((row) => row.workspace_id)))
        await sql`select pg_notify(${channel}, ${workspaceId})`.execute(db);
    });
  }

  async #sweep(): Promise<void> {
    const before = new Date(this.#o.clock.now() - retentionMs);
    await this.#o.database.kysely.deleteFrom('gateway_events').where('at', '<', before).execute();
    await this.#o.database.kysely.deleteFrom('webhook_deliveries').where('created_at', '<', before).execute();
  }

  #sweepLater(): void {
    this.#sweeping = this.#sweep().catch((error: unknown) =>
      this.#o.log.warn('old events were not removed', { reason: String(error) }),
    );
    this.#cancelSweep = this.#o.clock.after(sweepMs, () => this.#sweepLater());
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
