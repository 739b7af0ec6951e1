import { type Clock, HoldfastError, type Log, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { z } from 'zod';
import type { StoredAnswer } from '../caches/cache.ts';
import type { Idempotency, IdempotencyOutcome, IdempotencyRequest, IdempotencyTicket } from './idempotency.ts';

export interface IdempotencyOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** Longest answer that is kept; 4 MiB unless told. */
  readonly maxAnswerBytes?: number;
}

const keepMs = 86_400_000;
/** Without a sign of life from whoever runs a request for so long, it counts as dead. */
const leaseMs = 60_000;
const renewMs = 20_000;
const sweepEvery = 30;

const headers = z.record(z.string(), z.string());

interface KeyRow {
  readonly digest: Buffer;
  readonly state: 'running' | 'finished' | 'lost';
  readonly status: number | null;
  readonly headers: unknown;
  readonly body: Buffer | null;
  readonly streamed: boolean | null;
}

const answerOf = (row: KeyRow): StoredAnswer | null => {
  const { status, body, streamed } = row;
  if (row.state !== 'finished' || status === null || body === null || streamed === null) return null;
  return { status, body, streamed, headers: headers.parse(row.headers), usage: null };
};

/** Idempotency keys in PostgreSQL: a request is done once, whichever processes it is sent to. */
class DatabaseIdempotency implements Idempotency {
  readonly #o: IdempotencyOptions;
  readonly #maxAnswerBytes: number;
  /** Names this process among those that share the database. */
  readonly #owner: string;
  #running = 0;
  #rounds = 0;
  #renewing: Promise<void> = Promise.resolve();
  #cancelRenew: () => void;

  constructor(options: IdempotencyOptions) {
    this.#o = options;
    this.#maxAnswerBytes = options.maxAnswerBytes ?? 4_194_304;
    this.#owner = newId('hst', options.clock);
    this.#cancelRenew = options.clock.after(renewMs, () => this.#renewLater());
  }

  async begin(request: IdempotencyRequest): Promise<IdempotencyOutcome> {
    if (!/^[\x20-\x7e]{1,255}$/.test(request.idempotencyKey))
      throw new HoldfastError('request.invalid', 'An idempotency key has 1 to 255 printable ASCII characters.', {
        header: 'idempotency-key',
      });
    const at = new Date(this.#o.clock.now());
    if (await this.#take(request, at)) {
      this.#running += 1;
      return { kind: 'run', ticket: this.#ticket(request, at) };
    }
    const row = await this.#read(request);
    // It was given up between the two statements: whoever asks again may have it.
    if (row === null) throw running(request);
    if (!row.digest.equals(request.digest)) throw new HoldfastError('gateway.idempotency_mismatch');
    if (row.state === 'running') throw running(request);
    const answer = answerOf(row);
    if (answer === null) throw new HoldfastError('gateway.idempotency_lost');
    return { kind: 'replay', answer };
  }

  async close(): Promise<void> {
    this.#cancelRenew();
    await this.#renewing;
  }

  /** True when the request is ours to do: it is new, or whoever ran it has died, or its time is over. */
  async #take({ workspaceId, keyId, idempotencyKey, digest }: IdempotencyRequest, at: Date): Promise<boolean> {
    const [leaseUntil, expiresAt] = [new Date(at.getTime() + leaseMs), new Date(at.getTime() + keepMs)];
    const { rows } = await sql<{ owner: string }>`
      insert into idempotency_keys as k
        (workspace_id, key_id, idempotency_key, digest, state, owner, lease_until, created_at, expires_at)
      values (${workspaceId}, ${keyId}, ${idempotencyKey}, ${Buffer.from(digest)}, 'running', ${this.#owner},
        ${leaseUntil}, ${at}, ${expiresAt})
      on conflict (workspace_id, key_id, idempotency_key) do update set
        digest = excluded.digest, state = 'running', owner = excluded.owner, lease_until = excluded.lease_until,
        created_at = excluded.created_at, expires_at = excluded.expires_at,
        status = null, headers = null, body = null, streamed = null
      where k.expires_at <= ${at}
        or (k.state = 'running' and k.lease_until <= ${at} and k.digest = excluded.digest)
      returning owner`.execute(this.#o.database.kysely);
    return rows.length === 1;
  }

  async #read({ workspaceId, keyId, idempotencyKey }: IdempotencyRequest): Promise<KeyRow | null> {
    const row = await this.#o.database.kysely
      .selectFrom('idempotency_keys')
      .select(['digest', 'state', 'status', 'headers', 'body', 'streamed'])
      .where('workspace_id', '=', workspaceId)
      .where('key_id', '=', keyId)
      .where('idempotency_key', '=', idempotencyKey)
      .executeTakeFirst();
    return row ?? null;
  }

  #ticket(request: IdempotencyRequest, at: Date): IdempotencyTicket {
    // The time tells this turn from a later one of the same process, should this one have lost its lease meanwhile.
    const own = () =>
      sql`created_at = ${at} and workspace_id = ${request.workspaceId} and key_id = ${request.keyId}
        and idempotency_key = ${request.idempotencyKey} and owner = ${this.#owner} and state = 'running'`;
    let over = false;
    const end = async (what: string, statement: () => ReturnType<typeof sql>): Promise<void> => {
      if (over) return;
      over = true;
      this.#running -= 1;
      try {
        await statement().execute(this.#o.database.kysely);
      } catch (error) {
        this.#o.log.error(`an idempotency key was not ${what}; it is free again in a minute`, {
          reason: String(error),
        });
      }
    };
    return {
      finish: (answer) =>
        end('finished', () =>
          answer.body.byteLength > this.#maxAnswerBytes
            ? sql`update idempotency_keys set state = 'lost' where ${own()}`
            : sql`update idempotency_keys set state = 'finished', status = ${answer.status},
                headers = ${JSON.stringify(answer.headers)}::jsonb, body = ${Buffer.from(answer.body)},
                streamed = ${answer.streamed} where ${own()}`,
        ),
      lose: () => end('finished', () => sql`update idempotency_keys set state = 'lost' where ${own()}`),
      abandon: () => end('given up', () => sql`delete from idempotency_keys where ${own()}`),
    };
  }

  async #renew(): Promise<void> {
    const now = this.#o.clock.now();
    const { kysely } = this.#o.database;
    if (this.#running > 0)
      await kysely
        .updateTable('idempotency_keys')
        .set({ lease_until: new Date(now + leaseMs) })
        .where('owner', '=', this.#owner)
        .where('state', '=', 'running')
        .execute();
    this.#rounds += 1;
    if (this.#rounds % sweepEvery === 0)
      await kysely.deleteFrom('idempotency_keys').where('expires_at', '<=', new Date(now)).execute();
  }

  #renewLater(): void {
    this.#renewing = this.#renew().catch((error: unknown) =>
      this.#o.log.warn('idempotency keys were not renewed', { reason: String(error) }),
    );
    this.#cancelRenew = this.#o.clock.after(renewMs, () => this.#renewLater());
  }
}

const running = ({ idempotencyKey }: IdempotencyRequest): HoldfastError =>
  new HoldfastError('gateway.idempotency_running', undefined, { idempotencyKey, retryAfterMs: 1_000 });

export const openIdempotency = (options: IdempotencyOptions): Idempotency => new DatabaseIdempotency(options);
