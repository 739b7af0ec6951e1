import type { Clock, Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { GatewayConfiguration } from '../configuration.ts';
import { changedChannel, type DatabaseProviders } from '../providers/database-providers.ts';
import type { HttpClient } from '../providers/http-client.ts';
import { openProvider } from '../providers/open-provider.ts';
import { ModelTable, type OwnedProvider } from './model-table.ts';
import type { ModelRouteConfiguration } from './route-configuration.ts';
import { type BreakerLimits, HealthBook } from './target-health.ts';

export interface CatalogueOptions {
  readonly database: Database;
  readonly store: DatabaseProviders;
  readonly http: HttpClient;
  readonly breaker: BreakerLimits;
  readonly clock: Clock;
  readonly log: Log;
}

const maxTables = 1_000;
/** How long a table is used that could not be told of a change. */
const freshMs = 60_000;

interface Server {
  readonly providers: readonly OwnedProvider[];
  readonly routes: readonly ModelRouteConfiguration[];
}

interface Entry {
  /** Null while it is loaded for the first time. */
  table: ModelTable | null;
  loading: Promise<ModelTable>;
  until: number;
}

/**
 * The model tables of all workspaces: the server's providers and routes, and over them each workspace's own. A change
 * replaces tables as a whole; calls under way keep the one that they began with, so that no stream notices.
 */
export class Catalogue {
  readonly #o: CatalogueOptions;
  readonly #health: HealthBook;
  readonly #entries = new Map<string, Entry>();
  readonly #unlisten: () => void;
  #server: Server = { providers: [], routes: [] };

  constructor(options: CatalogueOptions) {
    this.#o = options;
    this.#health = new HealthBook(options.clock, options.breaker);
    this.#unlisten = options.database.listen(changedChannel, {
      message: (workspaceId) => void this.#entries.delete(workspaceId),
      reset: () => this.#entries.clear(),
    });
  }

  /** Names of the server's own providers. */
  get serverProviders(): ReadonlySet<string> {
    return new Set(this.#server.providers.map(({ provider }) => provider.name));
  }

  /** What the server's configuration gives to all workspaces. */
  get server(): { readonly providers: readonly OwnedProvider[]; readonly routes: readonly ModelRouteConfiguration[] } {
    return this.#server;
  }

  /** Replaces what the server's configuration gives. Errors: `gateway.recording_invalid`; then nothing changes. */
  async replaceServer(configuration: GatewayConfiguration): Promise<void> {
    const { http, clock } = this.#o;
    const providers: OwnedProvider[] = [];
    for (const config of configuration.providers)
      providers.push({ owner: '', provider: await openProvider(config, http, clock) });
    this.#server = { providers, routes: configuration.routes };
    this.#entries.clear();
  }

  /** The table in memory at once, or a promise while it has to be read. Errors: those of the database. */
  of(workspaceId: string): ModelTable | Promise<ModelTable> {
    const now = this.#o.clock.monotonic();
    const entry = this.#entries.get(workspaceId);
    if (entry === undefined) return this.#load(workspaceId, now).loading;
    if (entry.table === null) return entry.loading;
    // Read again behind the back of the call, which needs no database for what is known.
    if (entry.until <= now) this.#refresh(workspaceId, entry, now);
    return entry.table;
  }

  close(): void {
    this.#unlisten();
  }

  #load(workspaceId: string, now: number): Entry {
    if (this.#entries.size >= maxTables)
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    const loading = this.#read(workspaceId);
    const entry: Entry = { table: null, loading, until: now + freshMs };
    this.#entries.set(workspaceId, entry);
    loading.then(
      (table) => {
        entry.table = table;
      },
      // A failed look-up is not an answer: the next call asks again.
      () => {
        if (this.#entries.get(workspaceId) === entry) this.#entries.delete(workspaceId);
      },
    );
    return entry;
  }

  #refresh(workspaceId: string, entry: Entry, now: number): void {
    entry.until = now + freshMs;
    this.#read(workspaceId).then(
      (table) => {
        entry.table = table;
      },
      (error: unknown) =>
        this.#o.log.warn('the model routes of a workspace were not read again', { workspaceId, error }),
    );
  }

  async #read(workspaceId: string): Promise<ModelTable> {
    const { store, http, clock } = this.#o;
    const { providers, routes } = await store.load(workspaceId);
    const own: OwnedProvider[] = [];
    for (const config of providers) own.push({ owner: workspaceId, provider: await openProvider(config, http, clock) });
    return new ModelTable([...this.#server.providers, ...own], [...this.#server.routes, ...routes], this.#health);
  }
}
