import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import type { Database } from '@holdfast/db';
import type { EventSink } from '../events/event.ts';
import { KillSwitches } from './kill-switches.ts';
import { newestOf, type Repetition, repetitionOf, turnsOf } from './repetition.ts';
import { noCaps, type RunCaps, RunCapsStore } from './run-caps.ts';
import { type RunTotals, RunTotalsStore } from './run-totals.ts';
import type { Runaway, RunawayCall, RunHold, RunScopes } from './runaway.ts';

export interface RunawayOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
}

/** Runaway control, and the stores that the admin API writes. */
export interface OpenRunaway extends Runaway {
  readonly kills: KillSwitches;
  readonly caps: RunCapsStore;
  readonly totals: RunTotalsStore;
}

/** Without a limit of their own, runs are told of in an event from so many repetitions on. */
const suspiciousRepetitions = 10;
/** Shorter conversations cannot have that many. */
const suspiciousTurns = 10;
/** Suspicions that were told of and are not told again. */
const mostSuspicions = 10_000;

const freeHold: RunHold = { settle: () => Promise.resolve() };

const isCapped = (caps: RunCaps): boolean =>
  caps.maxMicroUsd !== null ||
  caps.maxTokens !== null ||
  caps.maxCalls !== null ||
  caps.maxSteps !== null ||
  caps.maxUnchangedInputs !== null;

const capReached = (
  cap: string,
  limit: number,
  run: string,
  details: Readonly<Record<string, unknown>>,
): HoldfastError =>
  new HoldfastError('runaway.cap_reached', `The run ${run} has reached its ${cap} of ${limit}.`, {
    cap,
    limit,
    run,
    ...details,
  });

/** Which cap the call ran into. Dollars and tokens are what is left when it was none of the others. */
const refusalOf = (call: RunawayCall, run: string, caps: RunCaps, totals: RunTotals | null): HoldfastError => {
  const used = {
    calls: totals?.calls ?? 0,
    steps: totals?.steps ?? 0,
    microUsd: totals?.microUsd ?? 0,
    tokens: totals?.tokens ?? 0,
    heldMicroUsd: totals?.heldMicroUsd ?? 0,
    heldTokens: totals?.heldTokens ?? 0,
  };
  const needed = { microUsd: Number(call.worstCaseMicroUsd ?? 0), tokens: call.worstCaseTokens };
  const details = { used, needed };
  if (caps.maxCalls !== null && used.calls >= caps.maxCalls) return capReached('maxCalls', caps.maxCalls, run, details);
  const usd = used.microUsd + used.heldMicroUsd + needed.microUsd;
  if (caps.maxMicroUsd !== null && usd > caps.maxMicroUsd)
    return capReached('maxMicroUsd', caps.maxMicroUsd, run, details);
  const tokens = used.tokens + used.heldTokens + needed.tokens;
  if (caps.maxTokens !== null && tokens > caps.maxTokens) return capReached('maxTokens', caps.maxTokens, run, details);
  if (caps.maxSteps !== null && used.steps >= caps.maxSteps) return capReached('maxSteps', caps.maxSteps, run, details);
  const limit = caps.maxUnchangedInputs ?? 0;
  return new HoldfastError(
    'runaway.unchanged_input',
    `The input of the run ${run} has grown ${limit} times without anything new.`,
    { run, limit },
  );
};

class RunawayControl implements OpenRunaway {
  readonly kills: KillSwitches;
  readonly caps: RunCapsStore;
  readonly totals: RunTotalsStore;
  readonly #events: EventSink;
  readonly #suspicions = new Set<string>();

  constructor({ database, clock, log, events }: RunawayOptions) {
    this.kills = new KillSwitches({ database, clock, log, events });
    this.caps = new RunCapsStore(database, clock);
    this.totals = new RunTotalsStore(database, clock, log);
    this.#events = events;
  }

  async check(call: RunawayCall): Promise<RunHold> {
    const { scopes } = call;
    const killed = this.kills.refusal(scopes);
    if (killed !== null) throw killed;
    const found = this.caps.of(scopes.workspaceId, scopes.agentId, scopes.runId);
    const caps = found instanceof Promise ? await found : found;
    if (caps === noCaps && turnsOf(call.format, call.body).length < suspiciousTurns) return freeHold;
    try {
      this.#refuseRepetition(call, caps);
      return scopes.runId === null || !isCapped(caps) ? freeHold : await this.#admit(call, scopes.runId, caps);
    } catch (error) {
      if (error instanceof HoldfastError) this.#stopped(scopes, error);
      throw error;
    }
  }

  refusal(scopes: RunScopes): HoldfastError | null {
    return this.kills.refusal(scopes);
  }

  onKill(scopes: RunScopes, abort: (error: HoldfastError) => void): () => void {
    return this.kills.onKill(scopes, abort);
  }

  async close(): Promise<void> {
    this.caps.close();
    await this.totals.close();
    await this.kills.close();
  }

  async #admit(call: RunawayCall, runId: string, caps: RunCaps): Promise<RunHold> {
    const { scopes } = call;
    if (caps.maxMicroUsd !== null && call.worstCaseMicroUsd === null)
      throw capReached('maxMicroUsd', caps.maxMicroUsd, runId, { reason: 'the price of the model is not known' });
    const admission = await this.totals.admit(
      {
        workspaceId: scopes.workspaceId,
        runId,
        agentId: scopes.agentId,
        step: call.step,
        worstMicroUsd: Number(call.worstCaseMicroUsd ?? 0n),
        worstTokens: call.worstCaseTokens,
        inputTokens: call.inputTokens,
        inputDigest: caps.maxUnchangedInputs === null ? null : newestOf(call.format, call.body),
      },
      caps,
    );
    if (admission.admitted) return admission.hold;
    throw refusalOf(call, runId, caps, admission.totals);
  }

  #refuseRepetition({ scopes, format, body }: RunawayCall, caps: RunCaps): void {
    const limit = caps.maxRepeatedCalls;
    if (limit === null && turnsOf(format, body).length < suspiciousTurns) return;
    const found = repetitionOf(format, body);
    if (found === null) return;
    if (limit !== null && found.times >= limit)
      throw new HoldfastError(
        'runaway.repeated_call',
        `The tool ${found.tool} was called ${found.times} times alike.`,
        {
          tool: found.tool.slice(0, 128),
          times: found.times,
          limit,
          run: scopes.runId,
        },
      );
    if (limit === null && found.times >= suspiciousRepetitions) this.#suspect(scopes, found);
  }

  /** Tells once of a run, or of a key without one, and a call. */
  #suspect(scopes: RunScopes, { tool, times, fingerprint }: Repetition): void {
    const subject = scopes.runId ?? scopes.keyId;
    const once = `repeated:${subject}:${fingerprint}`;
    if (this.#suspicions.has(`${scopes.workspaceId}:${once}`)) return;
    if (this.#suspicions.size >= mostSuspicions) this.#suspicions.clear();
    this.#suspicions.add(`${scopes.workspaceId}:${once}`);
    const data = { run: scopes.runId, agent: scopes.agentId, key: scopes.keyId, tool: tool.slice(0, 128), times };
    this.#events.publish({ workspaceId: scopes.workspaceId, type: 'runaway.suspected', subject, data, once });
  }

  #stopped(scopes: RunScopes, error: HoldfastError): void {
    const { runId, agentId, keyId, workspaceId } = scopes;
    const { cap, limit } = error.details;
    const data = { run: runId, agent: agentId, key: keyId, code: error.code, reason: error.message };
    const subject = runId ?? keyId;
    // A loop runs into its cap again and again; one event says so, and another when the limit was raised meanwhile.
    const once = `stopped:${subject}:${JSON.stringify([error.code, cap, limit])}`;
    this.#events.publish({ workspaceId, type: 'runaway.stopped', subject, data, once });
  }
}

/** Opens runaway control and reads the kill switches in force. */
export const openRunaway = async (options: RunawayOptions): Promise<OpenRunaway> => {
  const control = new RunawayControl(options);
  try {
    await control.kills.load();
    return control;
  } catch (error) {
    await control.close();
    throw error;
  }
};
