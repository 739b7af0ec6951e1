import { type Clock, HoldfastError, newId, newSpanId, newTraceId, silentLog, systemClock } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import { sql } from 'kysely';
import { type AttemptRecord, attemptId, type Scopes } from '../ledger/ledger.ts';
import type { BudgetInput } from './budget.ts';
import { BudgetStore } from './budget-store.ts';
import type { SharedTime } from './shared-time.ts';
import type { CallFacts } from './spending.ts';

/** A workspace of its own for each test, so that tests share one database. */
export const newWorkspace = async (database: Database): Promise<string> => {
  const id = newId('ws');
  await database.kysely.insertInto('workspaces').values({ id, name: id, created_at: new Date() }).execute();
  return id;
};

export const scopesOf = (workspaceId: string, over: Partial<Scopes> = {}): Scopes => ({
  workspaceId,
  teamId: 'team_1',
  userId: 'usr_1',
  keyId: 'key_1',
  agentId: null,
  runId: null,
  endpoint: 'chat.completions',
  ...over,
});

/** A call that costs at most `microUsd`, of which the input is a tenth. */
export const callOf = (scopes: Scopes, microUsd: number, over: Partial<CallFacts> = {}): CallFacts => {
  const callId = newId('mdl');
  return {
    callId,
    scopes,
    worstCaseMicroUsd: BigInt(microUsd),
    inputMicroUsd: BigInt(Math.ceil(microUsd / 10)),
    worstCaseTokens: 100,
    inputTokens: 10,
    first: {
      id: attemptId(callId, 1),
      callId,
      attempt: 1,
      requestedModel: 'smart',
      route: 'smart',
      variant: null,
      provider: 'openai',
      providerModel: 'gpt-4.1-mini',
      recorded: false,
      streamed: false,
      step: null,
      tags: { purpose: 'test' },
      traceId: newTraceId(),
      spanId: newSpanId(),
      priceVersion: 'test:1',
      startedAtMs: Date.now(),
    },
    ...over,
  };
};

/** How the first attempt of a call ended: it cost this much. */
export const attemptOf = (facts: CallFacts, microUsd: number, over: Partial<AttemptRecord> = {}): AttemptRecord => ({
  ...facts.first,
  scopes: facts.scopes,
  cache: null,
  status: 200,
  errorClass: null,
  responseModel: 'gpt-4.1-mini-2025-04-14',
  usage: {
    inputTokens: 10,
    cacheReadTokens: 0,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    outputTokens: 20,
    reasoningTokens: 5,
  },
  usageSource: 'provider',
  other: {},
  costMicroUsd: BigInt(microUsd),
  latencyMs: 12.5,
  firstTokenMs: 3,
  ...over,
});

export const makeBudget = (database: Database, workspaceId: string, input: BudgetInput) =>
  new BudgetStore(database, systemClock).create(workspaceId, input);

export interface Totals {
  /** Of each budget, in the order they were made: debited and spent, slices that are out counted in. */
  readonly windows: { debited: number; spent: number; sliced: number }[];
  readonly holds: number;
  readonly attempts: number;
  readonly cost: number;
}

/** What the database says about a workspace. */
export const totalsOf = async (database: Database, workspaceId: string): Promise<Totals> => {
  const { rows: windows } = await sql<{ debited: number; spent: number; sliced: number }>`
    select w.debited, (w.spent + coalesce(sum(s.spent), 0))::bigint as spent, coalesce(sum(s.granted), 0)::bigint as sliced
    from budget_windows w left join budget_slices s on s.window_id = w.id
    where w.workspace_id = ${workspaceId} group by w.id order by w.budget_id, w.id`.execute(database.kysely);
  const { rows } = await sql<{ holds: number; attempts: number; cost: number }>`
    select (select count(*) from budget_holds where split_part(attempt, E'\\x1f', 4) = ${workspaceId}) as holds,
      count(*) as attempts, coalesce(sum(cost_micro_usd), 0)::bigint as cost
    from model_attempts where workspace_id = ${workspaceId}`.execute(database.kysely);
  return { windows, ...(rows[0] ?? { holds: 0, attempts: 0, cost: 0 }) };
};

/** The system's clock, but for what a test adds to either of its times; its timers are not moved. */
export class ShiftedClock implements Clock {
  wallMs = 0;
  monotonicMs = 0;

  now(): number {
    return systemClock.now() + this.wallMs;
  }

  monotonic(): number {
    return systemClock.monotonic() + this.monotonicMs;
  }

  after(ms: number, callback: () => void): () => void {
    return systemClock.after(ms, callback);
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }
}

/** A time that stands still until a test sets it, in place of the database's. */
export class SetTime implements SharedTime {
  atMs: number;

  constructor(iso: string) {
    this.atMs = Date.parse(iso);
  }

  now(): number {
    return this.atMs;
  }

  observe(): void {}
}

export const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof HoldfastError && error.code === code;

export const spendingPorts = (database: Database) => ({ database, clock: systemClock, log: silentLog });
