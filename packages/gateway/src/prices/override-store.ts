import { type Clock, HoldfastError, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { z } from 'zod';
import { rates, units } from './table-file.ts';

/** Overrides that a workspace may have. */
const maxOverrides = 1_000;

export const overrideInput = z.strictObject({
  /** As the provider's configuration names its prices, such as `openai`. */
  provider: z.string().regex(/^[a-z0-9_-]{1,64}$/),
  /** The model's exact name. */
  model: z.string().min(1).max(256),
  effectiveFrom: z.iso.datetime({ offset: true }).optional(),
  rates: rates.default({}),
  units: units.default({}),
  contextTokens: z.number().int().min(1).nullable().default(null),
});
export type OverrideInput = z.input<typeof overrideInput>;

/** A price that a workspace has set for itself. */
export interface PriceOverride {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly effectiveFrom: Date;
  readonly rates: z.output<typeof rates>;
  readonly units: z.output<typeof units>;
  readonly contextTokens: number | null;
}

const storedPrice = overrideInput.pick({ rates: true, units: true, contextTokens: true });

/** Prices that workspaces set for themselves; each holds from its time on, until a later one of the same model does. */
export class OverrideStore {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor(database: Database, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Errors: `request.invalid`, `resource.conflict` when there is one of the same model and time, `quota.exceeded`. */
  async create(workspaceId: string, input: OverrideInput): Promise<PriceOverride> {
    const parsed = overrideInput.safeParse(input);
    if (!parsed.success) {
      const issues = parsed.error.issues.map(({ path, message }) => ({ path, message }));
      throw new HoldfastError('request.invalid', 'The price is not valid.', { issues });
    }
    const { provider, model, effectiveFrom, ...price } = parsed.data;
    if ((await this.list(workspaceId)).length >= maxOverrides)
      throw new HoldfastError('quota.exceeded', `A workspace has at most ${maxOverrides} prices.`, { maxOverrides });
    const row = await this.#database.kysely
      .insertInto('price_overrides')
      .values({
        ...{ id: newId('prc', this.#clock), workspace_id: workspaceId, provider, model },
        effective_from: effectiveFrom === undefined ? new Date(this.#clock.now()) : new Date(effectiveFrom),
        price: JSON.stringify(price),
      })
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .executeTakeFirst();
    if (row === undefined)
      throw new HoldfastError('resource.conflict', 'There is a price from that time on already.', { provider, model });
    return overrideOf(row);
  }

  async list(workspaceId: string): Promise<PriceOverride[]> {
    const rows = await this.#database.kysely
      .selectFrom('price_overrides')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .orderBy('provider')
      .orderBy('model')
      .orderBy('effective_from')
      .execute();
    return rows.map(overrideOf);
  }

  /** Errors: `resource.not_found`. */
  async remove(workspaceId: string, id: string): Promise<void> {
    const row = await this.#database.kysely
      .deleteFrom('price_overrides')
      .where('workspace_id', '=', workspaceId)
      .where('id', '=', id)
      .returning('id')
      .executeTakeFirst();
    if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id });
  }
}

interface OverrideRow {
  readonly id: string;
  readonly provider: string;
  readonly model: string;
  readonly effective_from: Date;
  readonly price: unknown;
}

const overrideOf = (row: OverrideRow): PriceOverride => ({
  id: row.id,
  provider: row.provider,
  model: row.model,
  effectiveFrom: row.effective_from,
  ...storedPrice.parse(row.price),
});
