import { type Clock, type Log, newId } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import type { RunCaps } from './run-caps.ts';
import type { RunHold } from './runaway.ts';

/** What a run has used, and what its calls under way have reserved. */
export interface RunTotals {
  readonly runId: string;
  readonly agentId: string | null;
  readonly calls: number;
  readonly steps: number;
  readonly microUsd: number;
  readonly tokens: number;
  readonly heldMicroUsd: number;
  readonly heldTokens: number;
  readonly unchangedInputs: number;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}

/** One call that asks to begin. */
export interface RunEntry {
  readonly workspaceId: string;
  readonly runId: string;
  readonly agentId: string | null;
  readonly step: string | null;
  readonly worstMicroUsd: number;
  readonly worstTokens: number;
  readonly inputTokens: number;
  readonly inputDigest: Uint8Array | null;
}

export type RunAdmission =
  | { readonly admitted: true; readonly hold: RunHold }
  /** What the totals were right after the refusal; null when the run has none, since a cap is 0. */
  | { readonly admitted: false; readonly totals: RunTotals | null };

/** A call that is not settled by then died with its process; what it held is taken as used. */
const holdMs = 7_200_000;
const sweepMs = 60_000;

interface TotalsRow {
  readonly run_id: string;
  readonly agent_id: string | null;
  readonly calls: number;
  readonly steps: number;
  readonly micro_usd: number;
  readonly tokens: number;
  readonly held_micro_usd: number;
  readonly held_tokens: number;
  readonly unchanged_inputs: number;
  readonly started_at: Date;
  readonly updated_at: Date;
}

const view = (row: TotalsRow): RunTotals => ({
  runId: row.run_id,
  agentId: row.agent_id,
  calls: row.calls,
  steps: row.steps,
  microUsd: row.micro_usd,
  tokens: row.tokens,
  heldMicroUsd: row.held_micro_usd,
  heldTokens: row.held_tokens,
  unchangedInputs: row.unchanged_inputs,
  startedAt: row.started_at,
  updatedAt: row.updated_at,
});

/**
 * The sums of capped runs. A call reserves its worst case in the same statement that compares with the caps, so that no
 * number of calls or processes at the same time gets beyond one.
 */
export class RunTotalsStore {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #log: Log;
  #cancelSweep: () => void;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(database: Database, clock: Clock, log: Log) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
    this.#cancelSweep = clock.after(sweepMs, () => this.#sweepLater());
  }

  async admit(entry: RunEntry, caps: RunCaps): Promise<RunAdmission> {
    const now = new Date(this.#clock.now());
    const holdId = newId('hld', this.#clock);
    const { workspaceId, runId, worstMicroUsd: usd, worstTokens: tokens } = entry;
    // A request that is as long as the one before is that one, sent again; only growing ones count.
    const unchanged = sql`case
      when t.input_digest is null or t.input_digest is distinct from excluded.input_digest then 0
      when excluded.input_tokens > t.input_tokens then t.unchanged_inputs + 1
      else t.unchanged_inputs end`;
    const steps = sql`t.steps + case when excluded.last_step is not null and t.last_step = excluded.last_step then 0 else 1 end`;
    const within = (value: ReturnType<typeof sql>, cap: number | null) =>
      sql`(${cap}::bigint is null or ${value} <= ${cap}::bigint)`;
    const { rows } = await sql<{ admitted: number }>`
      with r as (
        insert into run_totals as t (workspace_id, run_id, agent_id, calls, steps, last_step, held_micro_usd, held_tokens,
          input_digest, input_tokens, started_at, updated_at)
        select ${workspaceId}, ${runId}, ${entry.agentId}, 1, 1, ${entry.step}, ${usd}::bigint, ${tokens}::bigint,
          ${entry.inputDigest === null ? null : Buffer.from(entry.inputDigest)}::bytea, ${entry.inputTokens}::bigint, ${now}::timestamptz, ${now}::timestamptz
        where ${within(sql`1`, caps.maxCalls)} and ${within(sql`1`, caps.maxSteps)}
          and ${within(sql`${usd}::bigint`, caps.maxMicroUsd)} and ${within(sql`${tokens}::bigint`, caps.maxTokens)}
        on conflict (workspace_id, run_id) do update set
          calls = t.calls + 1, steps = ${steps}, last_step = excluded.last_step,
          held_micro_usd = t.held_micro_usd + excluded.held_micro_usd, held_tokens = t.held_tokens + excluded.held_tokens,
          unchanged_inputs = ${unchanged}, input_digest = excluded.input_digest, input_tokens = excluded.input_tokens,
          updated_at = excluded.updated_at
        where ${within(sql`t.calls + 1`, caps.maxCalls)} and ${within(steps, caps.maxSteps)}
          and ${within(sql`t.micro_usd + t.held_micro_usd + excluded.held_micro_usd`, caps.maxMicroUsd)}
          and ${within(sql`t.tokens + t.held_tokens + excluded.held_tokens`, caps.maxTokens)}
          and ${within(unchanged, caps.maxUnchangedInputs)}
        returning 1
      ), h as (
        insert into run_holds (id, workspace_id, run_id, micro_usd, tokens, expires_at)
        select ${holdId}, ${workspaceId}, ${runId}, ${usd}::bigint, ${tokens}::bigint, ${new Date(now.getTime() + holdMs)}::timestamptz from r
        returning 1
      )
      select count(*)::int as admitted from h`.execute(this.#database.kysely);
    if (rows[0]?.admitted === 1) return { admitted: true, hold: this.#hold(holdId) };
    return { admitted: false, totals: await this.get(workspaceId, runId) };
  }

  async get(workspaceId: string, runId: string): Promise<RunTotals | null> {
    const row = await this.#database.kysely
      .selectFrom('run_totals')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .where('run_id', '=', runId)
      .executeTakeFirst();
    return row === undefined ? null : view(row);
  }

  /** Those that were active last come first. */
  async list(workspaceId: string, limit: number): Promise<RunTotals[]> {
    const rows = await this.#database.kysely
      .selectFrom('run_totals')
      .selectAll()
      .where('workspace_id', '=', workspaceId)
      .orderBy('updated_at', 'desc')
      .limit(limit)
      .execute();
    return rows.map(view);
  }

  async close(): Promise<void> {
    this.#cancelSweep();
    await this.#sweeping;
  }

  /** Takes as used what calls have held for too long; the sum of what was freed so. */
  async sweep(): Promise<number> {
    const now = new Date(this.#clock.now());
    const { rows } = await sql<{ swept: number }>`
      with h as (
        delete from run_holds where expires_at <= ${now}::timestamptz returning workspace_id, run_id, micro_usd, tokens
      ), s as (
        select workspace_id, run_id, sum(micro_usd)::bigint as micro_usd, sum(tokens)::bigint as tokens, count(*) as holds
        from h group by workspace_id, run_id
      ), u as (
        update run_totals t set held_micro_usd = t.held_micro_usd - s.micro_usd, held_tokens = t.held_tokens - s.tokens,
          micro_usd = t.micro_usd + s.micro_usd, tokens = t.tokens + s.tokens
        from s where t.workspace_id = s.workspace_id and t.run_id = s.run_id returning s.holds
      )
      select coalesce(sum(holds), 0)::int as swept from u`.execute(this.#database.kysely);
    return rows[0]?.swept ?? 0;
  }

  #hold(holdId: string): RunHold {
    return {
      settle: async ({ microUsd, tokens }) => {
        const now = new Date(this.#clock.now());
        try {
          await sql`
            with h as (delete from run_holds where id = ${holdId} returning workspace_id, run_id, micro_usd, tokens)
            update run_totals t set held_micro_usd = t.held_micro_usd - h.micro_usd, held_tokens = t.held_tokens - h.tokens,
              micro_usd = t.micro_usd + ${microUsd.toString()}::bigint, tokens = t.tokens + ${tokens}::bigint,
              updated_at = ${now}::timestamptz
            from h where t.workspace_id = h.workspace_id and t.run_id = h.run_id`.execute(this.#database.kysely);
        } catch (error) {
          this.#log.error('what a run used was not written down; it counts in full when its hold ends', {
            holdId,
            error,
          });
        }
      },
    };
  }

  #sweepLater(): void {
    this.#sweeping = this.sweep().then(
      () => undefined,
      (error: unknown) => this.#log.warn('holds of runs were not swept', { error }),
    );
    this.#cancelSweep = this.#clock.after(sweepMs, () => this.#sweepLater());
  }
}
