import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { HoldfastError, type Log } from '@holdfast/core';
import pg from 'pg';
import { clientConfig, type Endpoint } from './endpoint.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

/** Any fixed number: processes that migrate the same database queue up on it. */
const advisoryLock = 4_817_203_911;

const folder = new URL('../migrations/', import.meta.url);

/** All migrations in order. Two with one number are a mistake of ours and refuse to start. */
export const readMigrations = async (from: URL = folder): Promise<Migration[]> => {
  const names = (await readdir(from)).filter((name) => name.endsWith('.sql')).sort();
  const found: Migration[] = [];
  for (const file of names) {
    const match = /^(\d{3})_([a-z0-9_]+)\.sql$/.exec(file);
    if (match === null) throw new HoldfastError('database.migration_failed', `${file} is not named NNN_name.sql.`);
    const sql = await readFile(new URL(file, from), 'utf8');
    const version = Number(match[1]);
    if (found.at(-1)?.version === version)
      throw new HoldfastError('database.migration_failed', `Two migrations have the number ${match[1]}.`);
    found.push({ version, name: match[2] ?? '', sql, checksum: createHash('sha256').update(sql).digest('hex') });
  }
  return found;
};

interface Applied {
  readonly version: number;
  readonly name: string;
  readonly checksum: string;
}

const check = (migrations: readonly Migration[], applied: readonly Applied[]): void => {
  const known = new Map(migrations.map((m) => [m.version, m]));
  for (const one of applied) {
    const migration = known.get(one.version);
    const details = { version: one.version, name: one.name };
    if (migration === undefined) throw new HoldfastError('database.schema_newer', undefined, details);
    if (migration.checksum !== one.checksum)
      throw new HoldfastError('database.migration_changed', undefined, {
        ...details,
        applied: one.checksum,
        found: migration.checksum,
      });
  }
};

const apply = async (client: pg.Client, migration: Migration): Promise<void> => {
  const { version, name, checksum } = migration;
  try {
    await client.query('begin');
    await client.query(migration.sql);
    await client.query('insert into schema_migrations (version, name, checksum) values ($1, $2, $3)', [
      version,
      name,
      checksum,
    ]);
    await client.query('commit');
  } catch (cause) {
    await client.query('rollback').catch(() => undefined);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HoldfastError('database.migration_failed', undefined, { version, name, reason }, { cause });
  }
};

/**
 * Brings the database forward, each migration in a transaction of its own, one process at a time.
 * Errors: `database.migration_failed`, `database.migration_changed`, `database.schema_newer`.
 * @returns how many were applied
 */
export const migrate = async (
  endpoint: Endpoint,
  migrations: readonly Migration[],
  applicationName: string,
  log: Log,
): Promise<number> => {
  const client = new pg.Client(clientConfig(endpoint, applicationName, 5_000));
  client.on('error', (error) => log.debug('the migration connection failed', { reason: error.message }));
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [advisoryLock]);
    await client.query(
      `create table if not exists schema_migrations (
         version int primary key, name text not null, checksum text not null,
         applied_at timestamptz not null default now())`,
    );
    const { rows } = await client.query<Applied>(
      'select version, name, checksum from schema_migrations order by version',
    );
    check(migrations, rows);
    const done = new Set(rows.map((row) => row.version));
    const pending = migrations.filter((m) => !done.has(m.version));
    for (const migration of pending) {
      await apply(client, migration);
      log.info('migration applied', { version: migration.version, name: migration.name });
    }
    return pending.length;
  } finally {
    // Ending the session releases the advisory lock.
    await client.end();
  }
};
