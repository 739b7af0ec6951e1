import type { PostgresCursor, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type { PoolClient } from 'pg';
import { databaseError, isConnectionLoss } from './loss.ts';

/** Where a lease gets its connections. */
export interface LeaseSource {
  /** A connection, waiting for a database that is away. */
  take(): Promise<PoolClient>;
  /** The connection turned out to be dead, and so probably are all others of its age. */
  lost(client: PoolClient): void;
}

const commands = ['COMMIT', 'DELETE', 'INSERT', 'MERGE', 'ROLLBACK', 'SELECT', 'UPDATE'] as const;

/** Statements that may run twice without harm: their first run either did nothing lasting or was rolled back. */
const isRepeatable = (sql: string): boolean => /^\s*(select|begin|start transaction)\b/i.test(sql);

/**
 * A connection lent to Kysely for one statement or one transaction. A connection that died while it was idle is only
 * noticed by the first statement on it; when that may be repeated it is, on a new connection, so that a restart of the
 * database is a pause and not an error. Anything else fails with `database.unreachable`.
 */
export class Lease implements PostgresPoolClient {
  readonly #source: LeaseSource;
  #client: PoolClient | null;
  #used = false;
  #broken = false;

  constructor(source: LeaseSource, client: PoolClient) {
    this.#source = source;
    this.#client = client;
  }

  query<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    statement: string | PostgresCursor<R>,
    parameters: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof statement !== 'string') throw new TypeError('cursors are not used here');
    return this.#run(statement, parameters);
  }

  release(): void {
    this.#client?.release(this.#broken);
    this.#client = null;
  }

  async #run<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    const isFirst = !this.#used;
    this.#used = true;
    try {
      return await this.#send(sql, parameters);
    } catch (error) {
      if (!isConnectionLoss(error)) throw error;
      this.#giveUp();
      if (!isFirst || !isRepeatable(sql)) throw databaseError(error);
    }
    this.#client = await this.#source.take();
    try {
      return await this.#send(sql, parameters);
    } catch (error) {
      if (isConnectionLoss(error)) this.#giveUp();
      throw databaseError(error);
    }
  }

  async #send<R>(sql: string, parameters: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    if (this.#client === null) throw new Error('Connection terminated');
    const { command, rowCount, rows } = await this.#client.query(sql, [...parameters]);
    // Kysely looks at the command only to count the rows of changes; others, such as LISTEN, count none.
    return { command: commands.find((known) => known === command) ?? 'SELECT', rowCount: rowCount ?? 0, rows };
  }

  #giveUp(): void {
    const client = this.#client;
    if (client === null) return;
    this.#broken = true;
    this.release();
    this.#broken = false;
    this.#source.lost(client);
  }
}
