import { HoldfastError } from '@holdfast/core';
import type { Hold } from '../budgets/spending.ts';
import { retryWaitMs } from '../routing/retry-wait.ts';
import type { RoutePlan } from '../routing/route-plan.ts';
import type { Target } from '../routing/target.ts';
import type { AttemptFailure } from './attempt-failure.ts';
import type { CallCost } from './call-cost.ts';
import { sumMicroUsd } from './call-cost.ts';
import type { CallInput } from './call-input.ts';
import type { CallJournal } from './call-journal.ts';
import type { CallServices } from './call-services.ts';
import { afterDisconnection, tooLate } from './disconnection.ts';
import { errorReply } from './error-reply.ts';
import { TargetTry } from './target-try.ts';

/** No provider is waited for inside a call that asks for more; the caller is told instead. */
const maxAskedWaitMs = 10_000;

export interface TargetRoundsOptions {
  readonly services: CallServices;
  readonly input: CallInput;
  readonly plan: RoutePlan;
  readonly cost: CallCost;
  readonly journal: CallJournal;
  /** Called when all attempts are in the journal, before the caller can see the end of the answer. */
  readonly settle: () => void;
}

/** Tries the targets of a call in order, round by round, until one answers. */
export class TargetRounds {
  readonly #o: TargetRoundsOptions;
  readonly #headers: Record<string, string> = {};
  #current: TargetTry | null = null;
  /** Why the call shall end, whatever it is doing. */
  #ended: AttemptFailure | null = null;
  #waiting: AbortController | null = null;
  #complete = false;
  #isDrained = false;

  constructor(options: TargetRoundsOptions) {
    this.#o = options;
  }

  /** The provider gave a whole answer that says the call succeeded. */
  get isComplete(): boolean {
    return this.#complete;
  }

  /** One more header for the answer. */
  addHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  /** Ends whatever is under way, for this reason. */
  abort(reason: AttemptFailure): void {
    this.#ended ??= reason;
    this.#waiting?.abort(reason);
    this.#current?.abort(reason);
  }

  /** The caller does not read any more: what follows depends on who is asked. */
  callerGone(reason: AttemptFailure): void {
    const current = this.#current;
    if (current === null || afterDisconnection[current.target.provider.kind] === 'cancel') {
      this.abort(reason);
      return;
    }
    if (this.#isDrained) return;
    this.#isDrained = true;
    const { clock, limits } = this.#o.services;
    const cancel = clock.after(limits.maxDrainMs, () => this.abort(reason));
    void current.over.then(cancel);
  }

  /** Resolves when the answer is over. Errors: `gateway.no_target_left`. */
  async run(hold: Hold): Promise<void> {
    const { clock } = this.#o.services;
    const { deadlineMs } = this.#o.plan;
    const deadlineAt = clock.monotonic() + deadlineMs;
    const cancel = clock.after(deadlineMs, () => {
      const current = this.#current;
      if (current !== null && !current.hasBegun) this.abort(tooLate(current.target.provider.name, deadlineMs));
    });
    try {
      await this.#rounds(hold, deadlineAt);
    } finally {
      cancel();
      this.#current = null;
    }
  }

  async #rounds(hold: Hold, deadlineAt: number): Promise<void> {
    const { plan, services } = this.#o;
    const { clock, random } = services;
    let last: { readonly target: Target; readonly failure: AttemptFailure } | null = null;
    for (let round = 0; ; round += 1) {
      for (const target of plan.targets) {
        if (this.#ended !== null) break;
        if (!target.health.mayBeAsked || !this.#fits(target, hold)) continue;
        const failure = await this.#try(target, hold);
        if (failure === null) return;
        last = { target, failure };
        if (!failure.facts.failover) break;
      }
      if (last === null || this.#ended !== null || !last.failure.facts.failover) break;
      const askedMs = Math.min(...plan.targets.map(({ health }) => health.remainingMs));
      const waitMs = retryWaitMs(round, askedMs, random);
      if (round >= plan.retries || askedMs > maxAskedWaitMs || clock.monotonic() + waitMs >= deadlineAt) break;
      if (!(await this.#pause(waitMs))) break;
    }
    if (last === null) throw this.#noneLeft();
    this.#refuse(last.target, this.#ended ?? last.failure);
  }

  /** False when the call ended meanwhile. */
  async #pause(waitMs: number): Promise<boolean> {
    this.#waiting = new AbortController();
    try {
      await this.#o.services.clock.sleep(waitMs, this.#waiting.signal);
      return true;
    } catch {
      return false;
    } finally {
      this.#waiting = null;
    }
  }

  /** What attempts before it cost is gone from what is reserved: one more must fit into the rest. */
  #fits(target: Target, hold: Hold): boolean {
    const spent = sumMicroUsd(this.#o.journal.records);
    if (spent === 0n) return true;
    return spent + (this.#o.cost.most(target) ?? 0n) <= hold.reservedMicroUsd;
  }

  /** Null when the target answered. */
  async #try(target: Target, hold: Hold): Promise<AttemptFailure | null> {
    const { services, input, plan, cost, journal, settle } = this.#o;
    const current = new TargetTry({
      ...{ services, input, cost, journal, target, settle },
      ...{ variant: plan.variant, headers: this.#headers },
    });
    this.#current = current;
    const failure = await current.run();
    if (failure === null) this.#complete = current.isComplete;
    else {
      const record = journal.records.at(-1);
      if (record !== undefined) hold.record(record);
    }
    return failure;
  }

  #noneLeft(): HoldfastError {
    if (this.#ended !== null) return this.#ended.facts.error;
    const { targets, route } = this.#o.plan;
    const cooling = targets.every(({ health }) => health.isCooling);
    const retryAfterMs = Math.ceil(Math.min(...targets.map(({ health }) => health.remainingMs)));
    return new HoldfastError(cooling ? 'gateway.rate_limited' : 'gateway.no_target_left', undefined, {
      route,
      retryAfterMs,
      targets: targets.map(({ provider, model, health }) => ({
        provider: provider.name,
        model,
        state: health.report().state,
      })),
    });
  }

  /** The answer when no target gave one. */
  #refuse(target: Target, { facts }: AttemptFailure): void {
    const { input, journal, settle, plan } = this.#o;
    settle();
    const { error, retryAfterMs } = facts;
    const details = {
      ...error.details,
      ...(typeof retryAfterMs === 'number' ? { retryAfterMs } : {}),
      attempts: journal.summaries,
    };
    const told = new HoldfastError(error.code, error.message, details, { cause: error });
    const { status, headers, body } = errorReply(input.request.door.family, told, input.requestId);
    input.sink.whole(
      status,
      {
        ...this.#headers,
        ...headers,
        'x-holdfast-trace-id': journal.traceId,
        'x-holdfast-provider': target.provider.name,
        ...(target.provider.recorded ? { 'x-holdfast-recorded': 'true' } : {}),
        ...(plan.variant === null ? {} : { 'holdfast-variant': plan.variant }),
      },
      body,
    );
  }
}
