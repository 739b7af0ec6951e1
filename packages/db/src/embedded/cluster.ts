import { mkdir, stat } from 'node:fs/promises';
import { type Clock, HoldfastError, type Log, type Secret } from '@holdfast/core';
import pg from 'pg';
import { clientConfig, type Endpoint, type Source } from '../endpoint.ts';
import { isConnectionLoss } from '../loss.ts';
import { withLock } from '../process-lock.ts';
import { findBinaries } from './binaries.ts';
import { type Runner, runnerFor } from './command.ts';
import { type Layout, layoutOf, makeFolders, readPassword } from './layout.ts';
import { findPostmaster, type Postmaster, stopPostmaster } from './postmaster.ts';
import { initialise, role, startPostmaster } from './start.ts';

export interface ClusterOptions {
  /** Folder for everything of the cluster; made when missing. */
  readonly folder: string;
  /** User PostgreSQL runs as when the caller is root. */
  readonly uid: number;
  readonly clock: Clock;
  readonly log: Log;
}

const databaseName = 'holdfast';
const lockWaitMs = 150_000;
const recoveryWaitMs = 60_000;

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/**
 * PostgreSQL in a folder of ours. Processes that use the same folder share one server: whoever comes first starts it,
 * later ones find it, and whoever leaves last stops it. One that a killed process left running is simply found.
 */
export class Cluster implements Source {
  readonly #o: ClusterOptions;
  readonly #layout: Layout;

  constructor(options: ClusterOptions) {
    this.#o = options;
    this.#layout = layoutOf(options.folder);
  }

  async endpoint(): Promise<Endpoint> {
    await mkdir(this.#layout.folder, { recursive: true, mode: 0o700 });
    return this.#locked(async () => {
      const password = await readPassword(this.#layout);
      const postmaster = (await findPostmaster(this.#layout)) ?? (await this.#start(password));
      return this.#prepare(await this.#whenReady(postmaster), password);
    });
  }

  async release(applicationName: string): Promise<void> {
    await this.#locked(async () => {
      const postmaster = await findPostmaster(this.#layout);
      if (postmaster === null) return;
      const others = await this.#countOthers(postmaster.port, applicationName);
      if (others > 0) this.#o.log.info('PostgreSQL stays for others', { connections: others });
      else await stopPostmaster(this.#layout, this.#o.clock);
    });
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    const { clock } = this.#o;
    return withLock({ folder: this.#layout.folder, purpose: 'postgres', waitMs: lockWaitMs, clock }, work);
  }

  async #start(password: Secret): Promise<Postmaster> {
    const layout = this.#layout;
    const uid = process.getuid?.() === 0 ? this.#o.uid : null;
    await makeFolders(layout, uid);
    const runner: Runner = await runnerFor(await findBinaries(), layout, uid);
    if (!(await exists(layout.data))) await initialise(layout, runner, password);
    const postmaster = await startPostmaster(layout, runner, this.#o.clock, this.#o.log);
    this.#o.log.info('PostgreSQL started', { pid: postmaster.pid, port: postmaster.port });
    return postmaster;
  }

  /** One that somebody started but who was killed before it was ready is waited for here. */
  async #whenReady(found: Postmaster): Promise<Postmaster> {
    const deadline = this.#o.clock.monotonic() + recoveryWaitMs;
    for (let now: Postmaster | null = found; now !== null; now = await findPostmaster(this.#layout)) {
      if (now.ready) return now;
      if (this.#o.clock.monotonic() > deadline) break;
      await this.#o.clock.sleep(20);
    }
    throw new HoldfastError('database.start_failed', 'PostgreSQL runs, but does not become ready.', {
      folder: this.#layout.folder,
      log: this.#layout.log,
    });
  }

  #client(port: number, database: string, password: Secret, name: string): pg.Client {
    const endpoint: Endpoint = { kind: 'tcp', port, user: role, database, password };
    const client = new pg.Client(clientConfig(endpoint, name, 5_000));
    client.on('error', () => undefined);
    return client;
  }

  /** Makes the database in a cluster that is new; also waits out the last moments of a recovery. */
  async #prepare(postmaster: Postmaster, password: Secret): Promise<Endpoint> {
    const endpoint: Endpoint = { kind: 'tcp', port: postmaster.port, user: role, database: databaseName, password };
    const deadline = this.#o.clock.monotonic() + recoveryWaitMs;
    for (;;) {
      const client = this.#client(postmaster.port, 'postgres', password, 'holdfast-start');
      try {
        await client.connect();
        const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [databaseName]);
        if (rowCount === 0) await client.query(`create database ${databaseName}`);
        return endpoint;
      } catch (error) {
        if (!isConnectionLoss(error) || this.#o.clock.monotonic() > deadline) throw error;
        await this.#o.clock.sleep(20);
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  async #countOthers(port: number, applicationName: string): Promise<number> {
    const client = this.#client(port, databaseName, await readPassword(this.#layout), 'holdfast-stop');
    try {
      await client.connect();
      const { rows } = await client.query<{ others: number }>(
        `select count(*)::int as others from pg_stat_activity
         where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name not like $1`,
        [`${applicationName}%`],
      );
      return rows[0]?.others ?? 0;
    } catch (error) {
      this.#o.log.debug('connections could not be counted', { reason: String(error) });
      return 0;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}
