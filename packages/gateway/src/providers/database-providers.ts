import { type Clock, HoldfastError, type Log, newId, Secret } from '@holdfast/core';
import type { Database, Schema } from '@holdfast/db';
import { audit, type Principal } from '@holdfast/identity';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import { providersOf } from '../configuration.ts';
import { type ModelRouteConfiguration, modelRouteConfiguration } from '../routing/route-configuration.ts';
import { type Envelope, openSecret, resealSecret, sealSecret } from '../secrets/envelope.ts';
import type { MasterKeys } from '../secrets/master-keys.ts';
import {
  type ProviderConfiguration,
  type ProviderSecrets,
  providerConfiguration,
  providerSecrets,
  type StoredProvider,
  storedProvider,
} from './provider-configuration.ts';
import type { ListedProvider, ListedRoute, ProviderStore } from './provider-store.ts';

/** Carries the id of each workspace whose providers or routes changed to every process. */
export const changedChannel = 'holdfast_gateway_changed';

const maxProviders = 100;
const maxRoutes = 1_000;
const rotateBatch = 100;

export interface DatabaseProvidersOptions {
  readonly database: Database;
  readonly masterKeys: MasterKeys;
  readonly clock: Clock;
  readonly log: Log;
  /** Names of the providers that the server's configuration gives to all workspaces. */
  readonly serverProviders: () => ReadonlySet<string>;
}

type Transaction = Kysely<Schema>;

interface SealedRow {
  readonly id: string;
  readonly workspace_id: string;
  readonly provider_id: string;
  readonly master_key_id: string;
  readonly sealed_data_key: Buffer;
  readonly sealed_secrets: Buffer;
}

/** What an envelope is bound to: moved to another row, it does not open. */
const associatedOf = (row: Pick<SealedRow, 'id' | 'workspace_id' | 'provider_id'>): string =>
  `provider-key\0${row.workspace_id}\0${row.provider_id}\0${row.id}`;

const envelopeOf = (row: SealedRow): Envelope => ({
  masterKeyId: row.master_key_id,
  sealedDataKey: row.sealed_data_key,
  sealedSecret: row.sealed_secrets,
});

const sealedColumns = (envelope: Envelope) => ({
  master_key_id: envelope.masterKeyId,
  sealed_data_key: envelope.sealedDataKey,
  sealed_secrets: envelope.sealedSecret,
});

const textOf = (secrets: ProviderSecrets): Secret =>
  new Secret(JSON.stringify(Object.fromEntries(Object.entries(secrets).map(([name, s]) => [name, s?.reveal()]))));

const documented = z.record(z.string(), z.unknown());

/** Providers and routes of workspaces in PostgreSQL, their secrets in envelopes. */
export class DatabaseProviders implements ProviderStore {
  readonly #o: DatabaseProvidersOptions;

  constructor(options: DatabaseProvidersOptions) {
    this.#o = options;
  }

  async listProviders(workspaceId: string): Promise<readonly ListedProvider[]> {
    const rows = await this.#o.database.kysely
      .selectFrom('gateway_providers as p')
      .leftJoin('gateway_provider_keys as k', 'k.provider_id', 'p.id')
      .select(['p.id', 'p.settings', 'p.created_at', 'p.updated_at', 'k.created_at as secrets_since'])
      .where('p.workspace_id', '=', workspaceId)
      .orderBy('p.name')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      provider: storedProvider.parse(row.settings),
      hasSecrets: row.secrets_since !== null,
      secretsSince: row.secrets_since,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    }));
  }

  async putProvider(by: Principal, provider: StoredProvider, secrets: ProviderSecrets | null): Promise<ListedProvider> {
    const { clock, database } = this.#o;
    const at = new Date(clock.now());
    const { workspaceId } = by;
    await database.kysely.transaction().execute(async (db) => {
      const count = await this.#countOthers(db, 'gateway_providers', workspaceId, provider.name);
      if (count >= maxProviders)
        throw new HoldfastError('quota.exceeded', undefined, { quota: 'providers', limit: maxProviders });
      const columns = { kind: provider.kind, settings: JSON.stringify(provider), updated_at: at };
      const { id } = await db
        .insertInto('gateway_providers')
        .values({ id: newId('prv', clock), workspace_id: workspaceId, name: provider.name, created_at: at, ...columns })
        .onConflict((conflict) => conflict.columns(['workspace_id', 'name']).doUpdateSet(columns))
        .returning('id')
        .executeTakeFirstOrThrow();
      if (secrets !== null) await this.#replaceSecrets(db, workspaceId, id, secrets, at);
      await this.#changed(db, by, 'provider.put', id, { name: provider.name, newSecrets: secrets !== null });
    });
    const listed = (await this.listProviders(workspaceId)).find((p) => p.provider.name === provider.name);
    if (listed === undefined) throw new HoldfastError('resource.conflict');
    return listed;
  }

  async removeProvider(by: Principal, name: string): Promise<void> {
    const { workspaceId } = by;
    await this.#o.database.kysely.transaction().execute(async (db) => {
      const users = (await this.#routes(db, workspaceId)).filter(({ route }) => providersOf(route).includes(name));
      if (users.length > 0 && !this.#o.serverProviders().has(name))
        throw new HoldfastError('resource.conflict', `Model routes name the provider ${name}.`, {
          routes: users.map(({ route }) => route.name).slice(0, 20),
        });
      const removed = await db
        .deleteFrom('gateway_providers')
        .where('workspace_id', '=', workspaceId)
        .where('name', '=', name)
        .returning('id')
        .executeTakeFirst();
      if (removed === undefined) throw new HoldfastError('resource.not_found', undefined, { provider: name });
      await this.#changed(db, by, 'provider.remove', removed.id, { name });
    });
  }

  async listRoutes(workspaceId: string): Promise<readonly ListedRoute[]> {
    return await this.#routes(this.#o.database.kysely, workspaceId);
  }

  async putRoute(by: Principal, route: ModelRouteConfiguration): Promise<ListedRoute> {
    const { clock, database, serverProviders } = this.#o;
    const at = new Date(clock.now());
    const { workspaceId } = by;
    await database.kysely.transaction().execute(async (db) => {
      const rows = await db
        .selectFrom('gateway_providers')
        .select('name')
        .where('workspace_id', '=', workspaceId)
        .execute();
      const visible = new Set([...serverProviders(), ...rows.map(({ name }) => name)]);
      const missing = providersOf(route).find((name) => !visible.has(name));
      if (missing !== undefined)
        throw new HoldfastError('request.invalid', `No provider is named ${missing}.`, { field: 'targets' });
      if ((await this.#countOthers(db, 'gateway_routes', workspaceId, route.name)) >= maxRoutes)
        throw new HoldfastError('quota.exceeded', undefined, { quota: 'model routes', limit: maxRoutes });
      const columns = { settings: JSON.stringify(route), updated_at: at };
      const { id } = await db
        .insertInto('gateway_routes')
        .values({ id: newId('rte', clock), workspace_id: workspaceId, name: route.name, created_at: at, ...columns })
        .onConflict((conflict) => conflict.columns(['workspace_id', 'name']).doUpdateSet(columns))
        .returning('id')
        .executeTakeFirstOrThrow();
      await this.#changed(db, by, 'route.put', id, { name: route.name });
    });
    const listed = (await this.listRoutes(workspaceId)).find((r) => r.route.name === route.name);
    if (listed === undefined) throw new HoldfastError('resource.conflict');
    return listed;
  }

  async removeRoute(by: Principal, name: string): Promise<void> {
    await this.#o.database.kysely.transaction().execute(async (db) => {
      const removed = await db
        .deleteFrom('gateway_routes')
        .where('workspace_id', '=', by.workspaceId)
        .where('name', '=', name)
        .returning('id')
        .executeTakeFirst();
      if (removed === undefined) throw new HoldfastError('resource.not_found', undefined, { route: name });
      await this.#changed(db, by, 'route.remove', removed.id, { name });
    });
  }

  /** What the gateway routes with; a provider whose secrets do not open is there without them, and refuses calls. */
  async load(workspaceId: string): Promise<{
    readonly providers: readonly ProviderConfiguration[];
    readonly routes: readonly ModelRouteConfiguration[];
  }> {
    const { kysely } = this.#o.database;
    const rows = await kysely
      .selectFrom('gateway_providers')
      .select(['id', 'name', 'settings'])
      .where('workspace_id', '=', workspaceId)
      .execute();
    const sealed = await kysely
      .selectFrom('gateway_provider_keys')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .execute();
    const providers = rows.flatMap(({ id, name, settings }) => {
      const secrets = this.#open(sealed.find(({ provider_id }) => provider_id === id));
      const parsed = providerConfiguration.safeParse({ ...documented.parse(settings), ...secrets });
      if (parsed.success) return [parsed.data];
      this.#o.log.error('a stored provider cannot be used', { workspaceId, provider: name });
      return [];
    });
    const routes = (await this.listRoutes(workspaceId)).map(({ route }) => route);
    return { providers, routes };
  }

  async rotateMasterKey(): Promise<number> {
    const { masterKeys, database } = this.#o;
    await masterKeys.addCurrent();
    const { currentId } = masterKeys;
    for (let count = 0; ; ) {
      const rows = await database.kysely
        .selectFrom('gateway_provider_keys')
        .selectAll()
        .where('master_key_id', '!=', currentId)
        .orderBy('id')
        .limit(rotateBatch)
        .execute();
      if (rows.length === 0) return count;
      for (const row of rows) {
        await database.kysely
          .updateTable('gateway_provider_keys')
          .set(sealedColumns(resealSecret(masterKeys, envelopeOf(row), associatedOf(row))))
          .where('id', '=', row.id)
          // Somebody may have stored new secrets meanwhile.
          .where('master_key_id', '=', row.master_key_id)
          .execute();
        count += 1;
      }
    }
  }

  #open(row: SealedRow | undefined): ProviderSecrets {
    if (row === undefined) return {};
    try {
      const text = openSecret(this.#o.masterKeys, envelopeOf(row), associatedOf(row)).reveal();
      return providerSecrets.parse(JSON.parse(text));
    } catch {
      this.#o.log.error('the secrets of a provider do not open', {
        providerId: row.provider_id,
        masterKeyId: row.master_key_id,
      });
      return {};
    }
  }

  async #replaceSecrets(
    db: Transaction,
    workspaceId: string,
    providerId: string,
    secrets: ProviderSecrets,
    at: Date,
  ): Promise<void> {
    await db.deleteFrom('gateway_provider_keys').where('provider_id', '=', providerId).execute();
    const ids = { id: newId('pky', this.#o.clock), workspace_id: workspaceId, provider_id: providerId };
    const envelope = sealSecret(this.#o.masterKeys, textOf(secrets), associatedOf(ids));
    await db
      .insertInto('gateway_provider_keys')
      .values({ ...ids, ...sealedColumns(envelope), created_at: at })
      .execute();
  }

  async #countOthers(
    db: Transaction,
    table: 'gateway_providers' | 'gateway_routes',
    workspaceId: string,
    name: string,
  ): Promise<number> {
    const { count } = await db
      .selectFrom(table)
      .select((e) => e.fn.countAll<string>().as('count'))
      .where('workspace_id', '=', workspaceId)
      .where('name', '!=', name)
      .executeTakeFirstOrThrow();
    return Number(count);
  }

  async #routes(db: Transaction, workspaceId: string): Promise<ListedRoute[]> {
    const rows = await db
      .selectFrom('gateway_routes')
      .select(['id', 'settings', 'created_at', 'updated_at'])
      .where('workspace_id', '=', workspaceId)
      .orderBy('name')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      route: modelRouteConfiguration.parse(row.settings),
      createdAt: row.created_at,
      updatedAt: row.updated_at,
    }));
  }

  /** Tells the audit log, and with the commit all processes. */
  async #changed(
    db: Transaction,
    by: Principal,
    action: string,
    target: string,
    details: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const { workspaceId, keyId, userId } = by;
    await audit(db, new Date(this.#o.clock.now()), { workspaceId, keyId, userId, action, target, details });
    await sql`select pg_notify(${changedChannel}, ${workspaceId})`.execute(db);
  }
}
