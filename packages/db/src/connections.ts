import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import pg from 'pg';
import { clientConfig, type Source } from './endpoint.ts';
import { Lease, type LeaseSource } from './lease.ts';
import { databaseError, isConnectionLoss } from './loss.ts';

export interface ConnectionOptions {
  readonly source: Source;
  readonly applicationName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Most connections open at once. */
  readonly maxConnections: number;
  /** How long a query waits for a database that is away before it fails. */
  readonly patienceMs: number;
}

const connectMs = 5_000;
const pauseMs = 50;

/**
 * A pool that outlives its server: when the database goes away, whoever wants a connection waits, the source brings the
 * database back (on another port if need be), and a new pool takes over. A statement that was under way fails with
 * `database.unreachable`, since nobody knows whether it happened, unless it may be repeated.
 */
export class Connections implements LeaseSource {
  readonly #o: ConnectionOptions;
  #pool: Promise<pg.Pool> | null = null;
  /** Which pool a connection is of. */
  readonly #owners = new WeakMap<pg.PoolClient, Promise<pg.Pool>>();
  #closed = false;

  constructor(options: ConnectionOptions) {
    this.#o = options;
  }

  /** What Kysely shows to whoever asks; connections are made with the settings of the current endpoint. */
  readonly options = {};

  async connect(): Promise<Lease> {
    return new Lease(this, await this.take());
  }

  lost(client: pg.PoolClient): void {
    const owner = this.#owners.get(client);
    if (owner !== undefined) this.#replace(owner);
  }

  /** The database was restarted: connections made before are dead, also those that do not know it yet. */
  renew(): void {
    if (this.#pool !== null) this.#replace(this.#pool);
  }

  async take(): Promise<pg.PoolClient> {
    const deadline = this.#o.clock.monotonic() + this.#o.patienceMs;
    for (;;) {
      if (this.#closed) throw new HoldfastError('database.unreachable', 'The database was closed.');
      const current = this.#current();
      try {
        const client = await (await current).connect();
        // The pool listens to idle connections only; one that is lost before its first query would end the process.
        if (!this.#owners.has(client)) client.on('error', (error) => this.#noteLoss(error));
        this.#owners.set(client, current);
        return client;
      } catch (error) {
        if (!isConnectionLoss(error) || this.#o.clock.monotonic() > deadline) throw databaseError(error);
        this.#replace(current);
        await this.#o.clock.sleep(pauseMs);
      }
    }
  }

  async end(): Promise<void> {
    this.#closed = true;
    const pool = this.#pool;
    this.#pool = null;
    if (pool === null) return;
    const opened = await pool.catch(() => null);
    await opened?.end();
  }

  #current(): Promise<pg.Pool> {
    this.#pool ??= this.#open();
    return this.#pool;
  }

  async #open(): Promise<pg.Pool> {
    const endpoint = await this.#o.source.endpoint();
    const pool = new pg.Pool({
      ...clientConfig(endpoint, this.#o.applicationName, connectMs),
      max: this.#o.maxConnections,
      idleTimeoutMillis: 60_000,
      statement_timeout: 60_000,
      idle_in_transaction_session_timeout: 60_000,
    });
    // Without a listener the loss of an idle connection would end the process. The pool drops it by itself.
    pool.on('error', (error) => this.#noteLoss(error));
    return pool;
  }

  #noteLoss(error: Error): void {
    this.#o.log.debug('a database connection was lost', { reason: error.message });
  }

  /** Puts away a pool that failed, unless somebody did already. */
  #replace(failed: Promise<pg.Pool>): void {
    if (this.#pool !== failed) return;
    this.#pool = null;
    failed
      .then((pool) => pool.end())
      .catch((error: unknown) => this.#o.log.debug('a lost pool did not end', { reason: String(error) }));
  }
}
