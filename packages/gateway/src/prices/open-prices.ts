import { readFile, stat } from 'node:fs/promises';
import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { CompiledTable, priceOf, priceTable } from './compiled-table.ts';
import { OverrideStore, type PriceOverride } from './override-store.ts';
import type { Price, Prices, PriceTable } from './price-table.ts';
import { tableFile } from './table-file.ts';

export interface PricesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** A newer table than the release's own; it is read again when it changes. */
  readonly file?: string | null;
}

/** How often the file is looked at, in milliseconds. */
const lookMs = 30_000;
const maxWorkspaces = 10_000;
const maxTableBytes = 33_554_432;
const builtIn = new URL('../../prices/table.json', import.meta.url);

const readTable = async (from: URL | string): Promise<CompiledTable> => {
  const { size } = await stat(from);
  if (size > maxTableBytes) throw new RangeError(`a table of prices has at most ${maxTableBytes} bytes`);
  return new CompiledTable(tableFile.parse(JSON.parse(await readFile(from, 'utf8'))));
};

/**
 * Opens the table of the release, or the file that replaces it. A file that cannot be read or is older than what is in
 * force changes nothing but the log: prices that are known are better than none.
 */
export const openPrices = async (options: PricesOptions): Promise<Prices> => {
  const prices = new GatewayPrices(options, await readTable(builtIn));
  await prices.reload();
  return prices;
};

class GatewayPrices implements Prices {
  readonly #o: PricesOptions;
  readonly #overrides: OverrideStore;
  readonly #workspaces = new Map<string, Promise<PriceTable>>();
  readonly #unlisten: () => void;
  #table: CompiledTable;
  #seen = '';
  #cancel: () => void = () => undefined;
  #closed = false;

  constructor(options: PricesOptions, table: CompiledTable) {
    this.#o = options;
    this.#table = table;
    this.#overrides = new OverrideStore(options.database, options.clock);
    this.#unlisten = options.database.listen('gateway_prices', {
      message: (workspaceId) => void this.#workspaces.delete(workspaceId),
      reset: () => this.#workspaces.clear(),
    });
    this.#planLook();
  }

  forWorkspace(workspaceId: string): Promise<PriceTable> {
    const known = this.#workspaces.get(workspaceId);
    if (known !== undefined) return known;
    const loading = this.#load(workspaceId).catch((cause: unknown) => {
      this.#workspaces.delete(workspaceId);
      throw new HoldfastError('budget.unavailable', 'The prices cannot be read.', { retryAfterMs: 1_000 }, { cause });
    });
    if (this.#workspaces.size >= maxWorkspaces) this.#workspaces.clear();
    this.#workspaces.set(workspaceId, loading);
    return loading;
  }

  async reload(): Promise<{ readonly date: string; readonly source: string }> {
    const { file, log } = this.#o;
    if (file !== undefined && file !== null)
      try {
        const { mtimeMs, size } = await stat(file);
        this.#seen = `${mtimeMs} ${size}`;
        const table = await readTable(file);
        if (table.date < this.#table.date) log.warn('the file of prices is older than those in force', { file });
        else {
          this.#table = table;
          log.info('prices were loaded', { file, date: table.date });
        }
      } catch (error) {
        log.error('the file of prices cannot be used; those in force stay', {
          file,
          reason: String(error).slice(0, 500),
        });
      }
    return { date: this.#table.date, source: this.#table.source };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    this.#unlisten();
  }

  async #load(workspaceId: string): Promise<PriceTable> {
    const byModel = new Map<string, { readonly fromMs: number; readonly price: Price }[]>();
    for (const override of await this.#overrides.list(workspaceId)) {
      const key = `${override.provider} ${override.model}`;
      const list = byModel.get(key) ?? [];
      list.push({ fromMs: override.effectiveFrom.getTime(), price: overridePrice(override) });
      byModel.set(key, list);
    }
    return priceTable((provider, model, at) => {
      const own = byModel.get(`${provider} ${model}`)?.findLast(({ fromMs }) => fromMs <= at.getTime());
      return own?.price ?? this.#table.find(provider, model, at);
    });
  }

  #planLook(): void {
    const { file, clock } = this.#o;
    if (file === undefined || file === null || this.#closed) return;
    this.#cancel = clock.after(lookMs, () => void this.#look(file).finally(() => this.#planLook()));
  }

  async #look(file: string): Promise<void> {
    const found = await stat(file).catch(() => null);
    if (found !== null && `${found.mtimeMs} ${found.size}` !== this.#seen) await this.reload();
  }
}

const overridePrice = ({ id, rates, units, contextTokens }: PriceOverride): Price =>
  priceOf(`override:${id}`, { rates, units }, contextTokens);
