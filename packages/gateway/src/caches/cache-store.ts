import type { Clock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { z } from 'zod';
import type { CacheStats, StoredAnswer } from './cache.ts';
import type { StoredVector, VectorSource } from './vector-index.ts';

export interface CacheLimits {
  /** Longest answer that is kept. */
  readonly maxEntryBytes: number;
  /** Entries, and bytes of all their answers, that one workspace may have; the oldest go first. */
  readonly maxEntries: number;
  readonly maxBytes: number;
}

export const defaultCacheLimits: CacheLimits = { maxEntryBytes: 2_097_152, maxEntries: 10_000, maxBytes: 268_435_456 };

export interface NewEntry {
  readonly workspaceId: string;
  readonly digest: Buffer;
  readonly model: string;
  readonly answer: StoredAnswer;
  readonly semantic: { readonly frame: Buffer; readonly vector: Float32Array } | null;
  readonly ttlSeconds: number;
}

export interface StoredEntry {
  readonly answer: StoredAnswer;
  readonly ageSeconds: number;
}

const headers = z.record(z.string(), z.string());
const usage = z.object({
  inputTokens: z.number(),
  cacheReadTokens: z.number(),
  cacheWrite5mTokens: z.number(),
  cacheWrite1hTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
});

const columns = ['status', 'headers', 'body', 'streamed', 'usage', 'created_at'] as const;

interface EntryRow {
  readonly status: number;
  readonly headers: unknown;
  readonly body: Buffer;
  readonly streamed: boolean;
  readonly usage: unknown;
  readonly created_at: Date;
}

const vectorBytes = (vector: Float32Array): Buffer => Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);

/** A copy, since a database's buffer need not begin where a float may. */
const vectorOf = (bytes: Buffer): Float32Array => new Float32Array(Uint8Array.from(bytes).buffer);

/** So many entries are stored by a process before it looks whether there are too many. */
const trimEvery = 50;

/** The table of cached answers. */
export class CacheStore implements VectorSource {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #limits: CacheLimits;
  readonly #stored = new Map<string, number>();

  constructor(database: Database, clock: Clock, limits: CacheLimits) {
    this.#database = database;
    this.#clock = clock;
    this.#limits = limits;
  }

  byDigest(workspaceId: string, digest: Buffer, ttlSeconds: number): Promise<StoredEntry | null> {
    return this.#find(workspaceId, ttlSeconds, { digest });
  }

  byId(workspaceId: string, id: number, ttlSeconds: number): Promise<StoredEntry | null> {
    return this.#find(workspaceId, ttlSeconds, { id });
  }

  async read(workspaceId: string, frame: Uint8Array, after: number, limit: number): Promise<StoredVector[]> {
    const rows = await this.#database.kysely
      .selectFrom('answer_cache')
      .select(['id', 'vector'])
      .where('workspace_id', '=', workspaceId)
      .where('frame', '=', Buffer.from(frame))
      .where('id', '>', after)
      .where('expires_at', '>', new Date(this.#clock.now()))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.flatMap(({ id, vector }) => (vector === null ? [] : [{ id, vector: vectorOf(vector) }]));
  }

  /** Replaces what was under the digest. True when it was kept: too large an answer is not. */
  async put(entry: NewEntry): Promise<boolean> {
    const { workspaceId, answer, semantic } = entry;
    if (answer.body.byteLength > this.#limits.maxEntryBytes) return false;
    const now = this.#clock.now();
    await this.#database.kysely.transaction().execute(async (db) => {
      // Deleted and inserted rather than updated: ids tell other processes which vectors are new.
      await db
        .deleteFrom('answer_cache')
        .where('workspace_id', '=', workspaceId)
        .where('digest', '=', entry.digest)
        .execute();
      await db
        .insertInto('answer_cache')
        .values({
          ...{ workspace_id: workspaceId, digest: entry.digest, model: entry.model, status: answer.status },
          ...{ headers: JSON.stringify(answer.headers), body: Buffer.from(answer.body), streamed: answer.streamed },
          usage: answer.usage === null ? null : JSON.stringify(answer.usage),
          frame: semantic?.frame ?? null,
          vector: semantic === null ? null : vectorBytes(semantic.vector),
          ...{ created_at: new Date(now), expires_at: new Date(now + entry.ttlSeconds * 1_000) },
        })
        .onConflict((c) => c.columns(['workspace_id', 'digest']).doNothing())
        .execute();
    });
    await this.#trimSometimes(workspaceId);
    return true;
  }

  async purge(workspaceId: string, model: string | null): Promise<number> {
    let query = this.#database.kysely.deleteFrom('answer_cache').where('workspace_id', '=', workspaceId);
    if (model !== null) query = query.where('model', '=', model);
    const { numDeletedRows } = await query.executeTakeFirst();
    return Number(numDeletedRows);
  }

  async stats(workspaceId: string): Promise<CacheStats> {
    const row = await this.#database.kysely
      .selectFrom('answer_cache')
      .select((e) => e.fn.countAll<number>().as('entries'))
      .select((e) => e.fn.count<number>('frame').as('semantic'))
      .select(sql<number>`coalesce(sum(octet_length(body)), 0)::bigint`.as('bytes'))
      .where('workspace_id', '=', workspaceId)
      .where('expires_at', '>', new Date(this.#clock.now()))
      .executeTakeFirstOrThrow();
    return { entries: row.entries, bytes: row.bytes, semanticEntries: row.semantic };
  }

  /** Removes what is over, of all workspaces. */
  async removeExpired(): Promise<void> {
    await this.#database.kysely
      .deleteFrom('answer_cache')
      .where('expires_at', '<=', new Date(this.#clock.now()))
      .execute();
  }

  /** Removes the oldest entries beyond the limits. */
  async trim(workspaceId: string): Promise<void> {
    const { maxEntries, maxBytes } = this.#limits;
    await sql`
      delete from answer_cache where id in (
        select id from (
          select id, row_number() over w as place, sum(octet_length(body)) over w as bytes
          from answer_cache where workspace_id = ${workspaceId} window w as (order by id desc)
        ) as ranked
        where place > ${maxEntries}::bigint or bytes > ${maxBytes}::bigint
      )`.execute(this.#database.kysely);
  }

  async #trimSometimes(workspaceId: string): Promise<void> {
    const stored = (this.#stored.get(workspaceId) ?? 0) + 1;
    this.#stored.set(workspaceId, stored % trimEvery);
    if (stored === trimEvery) await this.trim(workspaceId);
  }

  async #find(
    workspaceId: string,
    ttlSeconds: number,
    by: { readonly digest: Buffer } | { readonly id: number },
  ): Promise<StoredEntry | null> {
    const now = this.#clock.now();
    const query = this.#database.kysely
      .selectFrom('answer_cache')
      .select(columns)
      .where('workspace_id', '=', workspaceId)
      .where('expires_at', '>', new Date(now))
      // Whoever asks for fresher answers than the entry was kept for gets none that is older.
      .where('created_at', '>', new Date(now - ttlSeconds * 1_000));
    const row: EntryRow | undefined = await ('digest' in by
      ? query.where('digest', '=', by.digest)
      : query.where('id', '=', by.id)
    ).executeTakeFirst();
    if (row === undefined) return null;
    const { status, body, streamed } = row;
    const answer = {
      status,
      body,
      streamed,
      headers: headers.parse(row.headers),
      usage: usage.nullable().parse(row.usage),
    };
    return { answer, ageSeconds: (now - row.created_at.getTime()) / 1_000 };
  }
}
