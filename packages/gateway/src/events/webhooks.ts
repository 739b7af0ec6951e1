import { type Clock, HoldfastError, newId, type RandomBytes, Secret } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { audit, type Principal } from '@holdfast/identity';
import { openText, sealText } from '../secrets/envelope.ts';
import type { MasterKeys } from '../secrets/master-keys.ts';
import type { AddressGuard } from './address-guard.ts';
import { webhookSecretOf } from './webhook-request.ts';

export interface Webhook {
  readonly id: string;
  readonly url: string;
  /** Types of events it gets; empty: all. */
  readonly types: readonly string[];
  readonly createdAt: Date;
}

export interface Delivery {
  readonly id: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly state: 'pending' | 'delivered' | 'failed';
  readonly attempts: number;
  /** When it is tried next; null when it is over. */
  readonly nextAt: Date | null;
  readonly lastStatus: number | null;
  readonly lastError: string | null;
  readonly createdAt: Date;
}

export interface WebhooksOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly masterKeys: MasterKeys;
  readonly guard: AddressGuard;
}

const mostWebhooks = 100;
const secretBytes = 32;
const resealBatch = 100;

/** Says whose secret a sealed one is. */
export const webhookSeal = (workspaceId: string, id: string): string => `webhook\0${workspaceId}\0${id}`;

/** Who is told of events over HTTP. */
export class Webhooks {
  readonly #o: WebhooksOptions;

  constructor(options: WebhooksOptions) {
    this.#o = options;
  }

  /**
   * The only time that the secret is known. Errors: `webhook.address_refused`, `request.invalid`, `quota.exceeded`.
   */
  async create(by: Principal, url: string, types: readonly string[]): Promise<{ webhook: Webhook; secret: Secret }> {
    const { database, clock, random, masterKeys, guard } = this.#o;
    guard.checkUrl(url);
    const id = newId('whk', clock);
    const at = new Date(clock.now());
    const secret = new Secret(webhookSecretOf(random(secretBytes)));
    const sealed = sealText(masterKeys, secret, webhookSeal(by.workspaceId, id));
    const made = { id, workspace_id: by.workspaceId, url, types: [...types], sealed_secret: sealed, created_at: at };
    await database.kysely.transaction().execute(async (db) => {
      const { count } = await db
        .selectFrom('webhooks')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('workspace_id', '=', by.workspaceId)
        .executeTakeFirstOrThrow();
      if (count >= mostWebhooks)
        throw new HoldfastError('quota.exceeded', undefined, { quota: 'webhooks', limit: mostWebhooks });
      await db.insertInto('webhooks').values(made).execute();
      // Paths of URLs are often secrets themselves.
      await audit(db, at, { ...by, action: 'webhook.create', target: id, details: { host: new URL(url).host, types } });
    });
    return { webhook: { id, url, types, createdAt: at }, secret };
  }

  async list(by: Principal): Promise<Webhook[]> {
    const rows = await this.#o.database.kysely
      .selectFrom('webhooks')
      .select(['id', 'url', 'types', 'created_at'])
      .where('workspace_id', '=', by.workspaceId)
      .orderBy('id')
      .execute();
    return rows.map(({ id, url, types, created_at }) => ({ id, url, types, createdAt: created_at }));
  }

  /** With its deliveries. Errors: `resource.not_found`. */
  async remove(by: Principal, id: string): Promise<void> {
    const at = new Date(this.#o.clock.now());
    await this.#o.database.kysely.transaction().execute(async (db) => {
      const row = await db
        .deleteFrom('webhooks')
        .where('workspace_id', '=', by.workspaceId)
        .where('id', '=', id)
        .returning('id')
        .executeTakeFirst();
      if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id });
      await audit(db, at, { ...by, action: 'webhook.remove', target: id, details: {} });
    });
  }

  /** Queues a delivery of the type `webhook.test`; the answer is its id. Errors: `resource.not_found`. */
  async test(by: Principal, id: string): Promise<string> {
    await this.#mustExist(by, id);
    const { clock, database } = this.#o;
    const at = new Date(clock.now());
    const eventId = newId('evt', clock);
    const type = 'webhook.test';
    const payload = { id: eventId, type, at: at.toISOString(), workspaceId: by.workspaceId, subject: id, data: {} };
    const deliveryId = `${id}.${eventId}`;
    const values = {
      id: deliveryId,
      workspace_id: by.workspaceId,
      webhook_id: id,
      event_id: eventId,
      event_type: type,
    };
    await database.kysely
      .insertInto('webhook_deliveries')
      .values({
        ...values,
        payload: JSON.stringify(payload),
        state: 'pending',
        next_at: at,
        created_at: at,
        updated_at: at,
      })
      .execute();
    return deliveryId;
  }

  /** Newest first. Errors: `resource.not_found`. */
  async deliveries(by: Principal, id: string, limit: number): Promise<Delivery[]> {
    await this.#mustExist(by, id);
    const rows = await this.#o.database.kysely
      .selectFrom('webhook_deliveries')
      .selectAll()
      .where('workspace_id', '=', by.workspaceId)
      .where('webhook_id', '=', id)
      .orderBy('created_at', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      eventId: row.event_id,
      eventType: row.event_type,
      state: row.state,
      attempts: row.attempts,
      nextAt: row.state === 'pending' ? row.next_at : null,
      lastStatus: row.last_status,
      lastError: row.last_error,
      createdAt: row.created_at,
    }));
  }

  /** Seals the secrets of all workspaces anew with the current master key; resolves with how many there were. */
  async reseal(): Promise<number> {
    const { database, masterKeys } = this.#o;
    const current = `v1.${masterKeys.currentId}.`;
    let count = 0;
    for (;;) {
      const rows = await database.kysely
        .selectFrom('webhooks')
        .select(['id', 'workspace_id', 'sealed_secret'])
        .where('sealed_secret', 'not like', `${current}%`)
        .orderBy('id')
        .limit(resealBatch)
        .execute();
      if (rows.length === 0) return count;
      for (const row of rows) {
        const whose = webhookSeal(row.workspace_id, row.id);
        const sealed = sealText(masterKeys, openText(masterKeys, row.sealed_secret, whose), whose);
        await database.kysely
          .updateTable('webhooks')
          .set({ sealed_secret: sealed })
          .where('id', '=', row.id)
          .where('sealed_secret', '=', row.sealed_secret)
          .execute();
        count += 1;
      }
    }
  }

  async #mustExist(by: Principal, id: string): Promise<void> {
    const row = await this.#o.database.kysely
      .selectFrom('webhooks')
      .select('id')
      .where('workspace_id', '=', by.workspaceId)
      .where('id', '=', id)
      .executeTakeFirst();
    if (row === undefined) throw new HoldfastError('resource.not_found', undefined, { id });
  }
}
