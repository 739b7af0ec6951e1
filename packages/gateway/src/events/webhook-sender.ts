import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { openText } from '../secrets/envelope.ts';
import type { MasterKeys } from '../secrets/master-keys.ts';
import type { AddressGuard } from './address-guard.ts';
import { sendWebhook } from './webhook-request.ts';
import { webhookSeal } from './webhooks.ts';

export interface WebhookSenderOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly masterKeys: MasterKeys;
  readonly guard: AddressGuard;
}

interface Due {
  readonly id: string;
  readonly workspace_id: string;
  readonly webhook_id: string;
  readonly event_id: string;
  readonly payload: string;
  readonly attempts: number;
  readonly url: string;
  readonly sealed_secret: string;
}

/** Waits after the first try, the second and so on, in milliseconds; after the last one a delivery has failed. */
const waitsMs = [5_000, 30_000, 120_000, 600_000, 3_600_000, 14_400_000, 43_200_000];
/** Up to this share of a wait is added at random, so that a receiver that comes back is not met by all at once. */
const jitter = 0.2;
/** Whoever claimed a delivery and died gives it up after so long. */
const claimMs = 60_000;
const pollMs = 5_000;
const mostAtOnce = 8;

const reasonOf = (error: unknown): string =>
  (error instanceof HoldfastError
    ? error.code
    : error instanceof Error && 'code' in error
      ? String(error.code)
      : String(error)
  ).slice(0, 256);

/** Sends what is due, any number of processes side by side; a delivery happens at least once, or has failed after 8 tries. */
export class WebhookSender {
  readonly #o: WebhookSenderOptions;
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #claiming: Promise<void> | null = null;
  #again = false;
  #cancelPoll: () => void = () => undefined;

  constructor(options: WebhookSenderOptions) {
    this.#o = options;
    this.#poll();
  }

  /** Something may be due. */
  nudge(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#claiming !== null) {
      this.#again = true;
      return;
    }
    this.#claiming = this.#claimAll().finally(() => {
      this.#claiming = null;
      if (this.#again) {
        this.#again = false;
        this.nudge();
      }
    });
  }

  async close(): Promise<void> {
    this.#stop.abort(new HoldfastError('gateway.closed'));
    this.#cancelPoll();
    await this.#claiming;
    await Promise.all(this.#underWay);
  }

  #poll(): void {
    this.#cancelPoll = this.#o.clock.after(pollMs, () => {
      this.nudge();
      this.#poll();
    });
  }

  async #claimAll(): Promise<void> {
    try {
      while (!this.#stop.signal.aborted && this.#underWay.size < mostAtOnce) {
        const due = await this.#claim(mostAtOnce - this.#underWay.size);
        if (due.length === 0) return;
        for (const one of due) this.#start(one);
      }
    } catch (error) {
      this.#o.log.warn('webhooks wait for the database', { reason: String(error) });
    }
  }

  #start(due: Due): void {
    const sending = this.#deliver(due)
      .catch((error: unknown) =>
        this.#o.log.warn('a delivery was not written down', { id: due.id, reason: String(error) }),
      )
      .finally(() => {
        this.#underWay.delete(sending);
        this.nudge();
      });
    this.#underWay.add(sending);
  }

  async #claim(limit: number): Promise<readonly Due[]> {
    const now = new Date(this.#o.clock.now());
    const { rows } = await sql<Due>`
      update webhook_deliveries d set next_at = ${new Date(now.getTime() + claimMs)}, attempts = d.attempts + 1
      from webhooks w
      where w.id = d.webhook_id and d.id in (
        select id from webhook_deliveries where state = 'pending' and next_at <= ${now}
        order by next_at limit ${limit} for update skip locked)
      returning d.id, d.workspace_id, d.webhook_id, d.event_id, d.payload, d.attempts, w.url, w.sealed_secret`.execute(
      this.#o.database.kysely,
    );
    return rows;
  }

  async #deliver(due: Due): Promise<void> {
    const { clock, masterKeys, guard } = this.#o;
    let status: number | null = null;
    let reason: string | null = null;
    try {
      const secret = openText(masterKeys, due.sealed_secret, webhookSeal(due.workspace_id, due.webhook_id));
      const message = { id: due.event_id, timestamp: Math.floor(clock.now() / 1_000), payload: due.payload };
      status = await sendWebhook(due.url, secret.reveal(), message, guard, this.#stop.signal);
      if (status < 200 || status >= 300) reason = `HTTP ${status}`;
    } catch (error) {
      // A server that stops says nothing of the receiver: whoever comes next tries again.
      if (this.#stop.signal.aborted) return;
      reason = reasonOf(error);
    }
    const now = clock.now();
    const waitMs = waitsMs[due.attempts - 1];
    const state = reason === null ? 'delivered' : waitMs === undefined ? 'failed' : 'pending';
    const nextMs = (waitMs ?? 0) * (1 + jitter * this.#o.random());
    await this.#o.database.kysely
      .updateTable('webhook_deliveries')
      .set({
        state,
        last_status: status,
        last_error: reason,
        updated_at: new Date(now),
        next_at: new Date(now + nextMs),
      })
      .where('id', '=', due.id)
      .execute();
    if (reason !== null)
      this.#o.log.warn('a webhook failed', { webhook: due.webhook_id, attempt: due.attempts, reason });
  }
}
