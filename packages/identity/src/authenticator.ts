import { timingSafeEqual } from 'node:crypto';
import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { hashSecret, parseKey } from './key-text.ts';
import type { Principal } from './principal.ts';

interface Known {
  readonly principal: Principal;
  readonly hash: Buffer;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null;
}

interface Entry {
  readonly known: Promise<Known | null>;
  readonly until: number;
}

/** Channel that carries the ids of revoked keys to every process. */
export const revokedChannel = 'holdfast_key_revoked';

const freshMs = 5_000;
const mostEntries = 10_000;
const usedFlushMs = 60_000;

/** What a key that does not exist is compared with, so that it takes as long as one that does. */
const nobody = Buffer.alloc(32);

/**
 * Tells who a key belongs to. Answers are kept in memory for 5 s, so that a busy key costs the database one look-up in
 * that time; a revocation takes effect at once here, and in other processes through a notification (at the latest when
 * the 5 s are over).
 */
export class Authenticator {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  readonly #used = new Map<string, number>();
  readonly #unlisten: () => void;
  #flushing: Promise<void> = Promise.resolve();
  #cancelFlush: () => void;

  constructor(database: Database, clock: Clock, log: Log) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
    this.#unlisten = database.listen(revokedChannel, {
      message: (keyId) => this.forget(keyId),
      reset: () => this.#entries.clear(),
    });
    this.#cancelFlush = clock.after(usedFlushMs, () => this.#flushLater());
  }

  /** Errors: `auth.missing` without a key, `auth.invalid` for one that is malformed, unknown, wrong, revoked or expired. */
  async authenticate(key: string | null): Promise<Principal> {
    if (key === null) throw new HoldfastError('auth.missing');
    const parsed = parseKey(key);
    if (parsed === null) throw new HoldfastError('auth.invalid');
    const known = await this.#find(parsed.id);
    const same = timingSafeEqual(hashSecret(parsed.secret), known?.hash ?? nobody);
    if (known === null || !same) throw new HoldfastError('auth.invalid');
    const now = this.#clock.now();
    if (known.expiresAt !== null && known.expiresAt <= now)
      throw new HoldfastError('auth.invalid', 'This API key has expired.', {
        expiredAt: new Date(known.expiresAt).toISOString(),
      });
    this.#used.set(parsed.id, now);
    return known.principal;
  }

  /** Makes the next use of this key look it up again. */
  forget(keyId: string): void {
    this.#entries.delete(keyId);
  }

  async close(): Promise<void> {
    this.#cancelFlush();
    this.#unlisten();
    await this.#flushing;
    await this.#flush();
  }

  #find(id: string): Promise<Known | null> {
    const now = this.#clock.monotonic();
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry.until > now) return entry.known;
    if (this.#entries.size >= mostEntries) this.#evict(now);
    const known = this.#load(id);
    this.#entries.set(id, { known, until: now + freshMs });
    // A failed look-up is not an answer: the next request asks again.
    known.catch(() => this.#entries.delete(id));
    return known;
  }

  /** Drops what is over, or the oldest when all is fresh. */
  #evict(now: number): void {
    for (const [id, entry] of this.#entries) if (entry.until <= now) this.#entries.delete(id);
    for (const id of this.#entries.keys()) {
      if (this.#entries.size < mostEntries) break;
      this.#entries.delete(id);
    }
  }

  async #load(id: string): Promise<Known | null> {
    const row = await this.#database.kysely
      .selectFrom('api_keys as k')
      .leftJoin('users as u', 'u.id', 'k.user_id')
      .leftJoin('agents as a', 'a.id', 'k.agent_id')
      .select(['k.id', 'k.workspace_id', 'k.user_id', 'k.role', 'k.secret_hash'])
      .select(['k.agent_id', 'k.run_id', 'k.model_routes', 'k.expires_at'])
      .select((e) => e.fn.coalesce('k.team_id', 'u.team_id', 'a.team_id').as('team_id'))
      .where('k.id', '=', id)
      .where('k.revoked_at', 'is', null)
      .executeTakeFirst();
    if (row === undefined) return null;
    const principal = {
      ...{ workspaceId: row.workspace_id, keyId: row.id, userId: row.user_id, role: row.role },
      ...(row.team_id === null ? {} : { teamId: row.team_id }),
      ...(row.agent_id === null ? {} : { agentId: row.agent_id }),
      ...(row.run_id === null ? {} : { runId: row.run_id }),
      ...(row.model_routes === null ? {} : { modelRoutes: row.model_routes }),
    };
    return { principal, hash: row.secret_hash, expiresAt: row.expires_at?.getTime() ?? null };
  }

  #flushLater(): void {
    this.#flushing = this.#flush();
    this.#cancelFlush = this.#clock.after(usedFlushMs, () => this.#flushLater());
  }

  /** Last use is kept by the minute and off the path of requests. */
  async #flush(): Promise<void> {
    const used = [...this.#used];
    this.#used.clear();
    try {
      for (const [id, at] of used)
        await this.#database.kysely
          .updateTable('api_keys')
          .set({ last_used_at: new Date(at) })
          .where('id', '=', id)
          .execute();
    } catch (error) {
      this.#log.warn('the last use of keys was not recorded', { keys: used.length, reason: String(error) });
    }
  }
}
