import { randomBytes } from 'node:crypto';
import { type Clock, HoldfastError, type Log, type Secret, silentLog, systemClock } from '@holdfast/core';
import { Kysely, PostgresDialect, sql } from 'kysely';
import { Connections } from './connections.ts';
import { Cluster } from './embedded/cluster.ts';
import { type Source, urlOf } from './endpoint.ts';
import { databaseError } from './loss.ts';
import { type Migration, migrate, readMigrations } from './migrate.ts';
import { type NotificationHandler, Notifications } from './notifications.ts';
import type { Schema } from './schema.ts';

export interface Database {
  readonly kysely: Kysely<Schema>;
  /** Connection string with its password, for libraries that connect by themselves; it changes when an embedded server moves. */
  url(): Promise<Secret>;
  /** Receives `pg_notify(channel, …)`; the returned function ends it. */
  listen(channel: string, handler: NotificationHandler): () => void;
  /** Resolves when the database answers. Errors: `database.unreachable`. */
  ping(): Promise<void>;
  /** Closes all connections; stops an embedded server when nobody else uses it. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** An outside PostgreSQL 15 or later… */
  readonly url?: Secret;
  /** …or one in a folder of ours. `uid` is who runs it when we are root; 61770 unless told. */
  readonly embedded?: { readonly folder: string; readonly uid?: number };
  readonly clock?: Clock;
  readonly log?: Log;
  /** 10 unless told. */
  readonly maxConnections?: number;
  /** How long a query waits for a database that is away; 15 s unless told. */
  readonly patienceMs?: number;
  /** Other migrations than Holdfast's; for tests. */
  readonly migrations?: readonly Migration[];
}

const defaultUid = 61_770;

const sourceOf = (o: DatabaseOptions, clock: Clock, log: Log): Source => {
  if (o.url !== undefined) {
    const url = o.url;
    return { endpoint: async () => ({ kind: 'url', url }), release: async () => undefined };
  }
  if (o.embedded === undefined)
    throw new HoldfastError('config.invalid', 'Neither a database URL nor a folder is given.');
  return new Cluster({ folder: o.embedded.folder, uid: o.embedded.uid ?? defaultUid, clock, log });
};

/**
 * Starts or reaches PostgreSQL and migrates it.
 * Errors: `database.unreachable`, `database.start_failed`, and those of `migrate`.
 */
export const openDatabase = async (o: DatabaseOptions): Promise<Database> => {
  const clock = o.clock ?? systemClock;
  const log = o.log ?? silentLog;
  const applicationName = `holdfast-${process.pid}-${randomBytes(4).toString('hex')}`;
  const source = sourceOf(o, clock, log);
  const { maxConnections = 10, patienceMs = 15_000 } = o;
  const pool = new Connections({ source, applicationName, clock, log, maxConnections, patienceMs });
  const returned = (): void => pool.renew();
  const notifications = new Notifications({ source, applicationName, clock, log, returned });
  try {
    await notifications.start();
    await migrate(await source.endpoint(), o.migrations ?? (await readMigrations()), applicationName, log);
  } catch (error) {
    await notifications.close();
    if (!(error instanceof HoldfastError && error.code === 'database.start_failed'))
      await source.release(applicationName);
    throw databaseError(error);
  }
  const kysely = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  return {
    kysely,
    url: async () => urlOf(await source.endpoint()),
    listen: (channel, handler) => notifications.listen(channel, handler),
    ping: async () => {
      await sql`select 1`.execute(kysely);
    },
    close: async () => {
      await kysely.destroy();
      // Kysely ends the pool only when it was used.
      await pool.end();
      await notifications.close();
      await source.release(applicationName);
    },
  };
};
