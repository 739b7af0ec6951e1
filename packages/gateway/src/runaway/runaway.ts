import type { HoldfastError } from '@holdfast/core';
import type { WireFormat } from '../doors/endpoint.ts';
import type { JsonObject } from '../formats/format.ts';

/** Who a call is made for, as far as it can be stopped; a part of the budgets' scopes. */
export interface RunScopes {
  readonly workspaceId: string;
  readonly keyId: string;
  readonly agentId: string | null;
  readonly runId: string | null;
}

export interface RunawayCall {
  readonly scopes: RunScopes;
  readonly format: WireFormat;
  readonly body: JsonObject;
  /** The header `holdfast-step`: which step of the run this belongs to; null counts as a step of its own. */
  readonly step: string | null;
  /** Upper bounds of what the call can use; null: unpriced, which a cap on dollars refuses. */
  readonly worstCaseMicroUsd: bigint | null;
  readonly worstCaseTokens: number;
  /** Estimated input alone. */
  readonly inputTokens: number;
}

/** What a run has reserved for one call. */
export interface RunHold {
  /** The call is over and used this. Never rejects: what cannot be written now is settled by the sweeper in full. */
  settle(used: { readonly microUsd: bigint; readonly tokens: number }): Promise<void>;
}

export interface Runaway {
  /**
   * Lets a call begin, or says why not. Without caps on the run this touches nothing but memory.
   * Errors: `runaway.killed`, `runaway.cap_reached`, `runaway.repeated_call`, `runaway.unchanged_input`.
   */
  check(call: RunawayCall): Promise<RunHold>;
  /** `runaway.killed` when a kill switch concerns these, else null; for what is answered without a call, as by a cache. */
  refusal(scopes: RunScopes): HoldfastError | null;
  /** Calls `abort` when the key, agent, run or workspace is killed, here or in another process; the answer ends that. */
  onKill(scopes: RunScopes, abort: (error: HoldfastError) => void): () => void;
  close(): Promise<void>;
}
