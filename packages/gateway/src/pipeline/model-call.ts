import { HoldfastError } from '@holdfast/core';
import type { Hold } from '../budgets/spending.ts';
import type { CacheLookup, StoredAnswer } from '../caches/cache.ts';
import { cacheHeaderName, cacheHeaderOf, cachePlanOf } from '../caches/cache-plan.ts';
import { replayOf } from '../caches/replay.ts';
import { estimate } from '../formats/estimate.ts';
import type { Usage } from '../formats/format.ts';
import type { IdempotencyTicket } from '../idempotency/idempotency.ts';
import { requestDigest } from '../idempotency/request-digest.ts';
import { planRoute, type RoutePlan } from '../routing/route-plan.ts';
import { askedOther } from './answer-facts.ts';
import type { AttemptFailure } from './attempt-failure.ts';
import { CallCost, sumMicroUsd, type WorstCase } from './call-cost.ts';
import type { CallInput } from './call-input.ts';
import { CallJournal, inputTokensOf } from './call-journal.ts';
import type { CallServices } from './call-services.ts';
import { type CallerFacts, callerFacts } from './caller-headers.ts';
import { conversationOf } from './conversation.ts';
import { callerGone, gatewayClosed, killed } from './disconnection.ts';
import { errorReply } from './error-reply.ts';
import { formatAt } from './target-call.ts';
import { TargetRounds } from './target-rounds.ts';

/** Headers of callers that change what a model answers. */
const answerHeaders = ['anthropic-beta', 'anthropic-version', 'openai-beta'] as const;

/** One call from its request to the end of its answer: what may begin, where it is tried, and what it used. */
export class ModelCall {
  readonly #services: CallServices;
  readonly #input: CallInput;
  readonly #caller: CallerFacts;
  readonly #cost: CallCost;
  readonly #plan: RoutePlan;
  readonly #journal: CallJournal;
  readonly #rounds: TargetRounds;
  #hold: Hold | null = null;

  /** Errors: `request.invalid`, `gateway.endpoint_unsupported`. */
  constructor(services: CallServices, input: CallInput) {
    const { request, principal, headers, resolved, prices } = input;
    const { door, json } = request;
    this.#services = services;
    this.#input = input;
    this.#caller = callerFacts(headers, principal, door.endpoint);
    const at = new Date(services.clock.now());
    this.#cost = new CallCost(prices, at, estimate(door.format, json), askedOther(door.format, json), door.isFree);
    this.#plan = this.#planned(resolved);
    this.#journal = new CallJournal(services, input, this.#caller, this.#plan, this.#cost);
    this.#rounds = new TargetRounds({
      ...{ services, input, plan: this.#plan, cost: this.#cost, journal: this.#journal },
      settle: () => this.#settle(),
    });
  }

  get traceId(): string {
    return this.#journal.traceId;
  }

  /** Ends the call and its connections, for this reason. */
  abort(reason: AttemptFailure): void {
    this.#rounds.abort(reason);
  }

  /** Resolves when the answer is over, whichever way, and everything about it is on its way to the ledger. Never rejects. */
  async run(): Promise<void> {
    const { signal } = this.#input;
    const { metrics, log } = this.#services;
    const onGone = (): void => {
      const { reason } = signal;
      // The server stops while the caller is still there, who is told.
      if (reason instanceof HoldfastError && reason.code === 'server.stopping') this.abort(gatewayClosed());
      else this.#rounds.callerGone(callerGone());
    };
    signal.addEventListener('abort', onGone, { once: true });
    if (signal.aborted) onGone();
    metrics.callBegins();
    try {
      await this.#answer();
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError)) log.error('a model call failed inside', { error: thrown });
      const error = thrown instanceof HoldfastError ? thrown : new HoldfastError('internal.unexpected');
      metrics.refused(this.#caller.scopes.workspaceId, this.#caller.scopes.endpoint, error.code);
      this.#refuse(error);
    } finally {
      signal.removeEventListener('abort', onGone);
      metrics.callEnds();
    }
  }

  #planned(resolved: CallInput['resolved']): RoutePlan {
    const { request } = this.#input;
    const conversation = resolved.sticky ? (this.#caller.conversation ?? conversationOf(request.json)) : null;
    const facts = {
      conversation,
      costOf: (target: RoutePlan['targets'][number]) => this.#cost.most(target),
      random: this.#services.random,
    };
    const plan = planRoute(resolved, facts, (target) => formatAt(target, request) !== null);
    if (plan.targets.length === 0)
      throw new HoldfastError(
        'gateway.endpoint_unsupported',
        `No provider of the model ${request.model} serves ${request.door.endpoint}.`,
        { model: request.model, endpoint: request.door.endpoint },
      );
    return plan;
  }

  async #answer(): Promise<void> {
    const stopped = this.#services.runaway.refusal(this.#caller.scopes);
    if (stopped !== null) throw stopped;
    const ticket = await this.#claim();
    if (ticket === 'replayed') return;
    let finished = false;
    try {
      const lookup = await this.#lookUp();
      if (lookup === 'hit') {
        finished = true;
        return;
      }
      if (ticket !== null || lookup !== null) this.#input.sink.keepCopy();
      await this.#ask();
      finished = await this.#keep(ticket, lookup);
    } finally {
      if (!finished) await ticket?.abandon();
    }
  }

  /** The right to do what this idempotency key stands for; null without a key. */
  async #claim(): Promise<IdempotencyTicket | null | 'replayed'> {
    const { idempotencyKey, scopes } = this.#caller;
    if (idempotencyKey === null) return null;
    const { request, principal } = this.#input;
    const digest = requestDigest(request.door.endpoint, request.bytes);
    const { workspaceId } = scopes;
    const { keyId } = principal;
    const outcome = await this.#services.idempotency.begin({ workspaceId, keyId, idempotencyKey, digest });
    if (outcome.kind === 'run') return outcome.ticket;
    this.#services.metrics.cache(workspaceId, 'replayed');
    await this.#replay(outcome.answer, { 'holdfast-replayed': 'true' });
    this.#append('replayed', outcome.answer);
    return 'replayed';
  }

  /** Null when no cache was asked for. */
  async #lookUp(): Promise<CacheLookup | null | 'hit'> {
    const { request, headers, resolved, signal } = this.#input;
    const header = headers[cacheHeaderName];
    const plan = cachePlanOf(resolved.cache ?? null, typeof header === 'string' ? header : undefined);
    if (plan === null || request.isForm) return null;
    const { workspaceId } = this.#caller.scopes;
    const told = answerHeaders.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value] as const] : [];
    });
    const { cache, metrics, embed } = this.#services;
    const lookup = await cache.lookup(
      {
        workspaceId,
        ...{ format: request.door.format, endpoint: request.door.endpoint, model: request.model },
        ...{ streamed: request.stream, body: request.json, headers: Object.fromEntries(told) },
      },
      plan,
      (text, model, gone) => embed(this.#input, text, model, gone),
      signal,
    );
    const { hit } = lookup;
    metrics.cache(workspaceId, hit === null ? 'miss' : hit.kind === 'exact' ? 'hit_exact' : 'hit_semantic');
    this.#rounds.addHeader(cacheHeaderName, cacheHeaderOf(hit));
    if (hit === null) return lookup;
    await this.#replay(hit.answer, { [cacheHeaderName]: cacheHeaderOf(hit) });
    this.#append(hit.kind, hit.answer);
    return 'hit';
  }

  async #replay(answer: StoredAnswer, more: Readonly<Record<string, string>>): Promise<void> {
    const { sink, requestId } = this.#input;
    const headers = {
      ...answer.headers,
      'x-holdfast-trace-id': this.#journal.traceId,
      'holdfast-request-id': requestId,
      ...more,
    };
    if (!answer.streamed) {
      sink.whole(answer.status, headers, answer.body);
      return;
    }
    sink.begin(answer.status, headers, true);
    for (const piece of replayOf(answer)) await sink.write(piece);
    sink.end();
  }

  /** An answer that cost nothing is in the ledger, too. */
  #append(source: 'exact' | 'semantic' | 'replayed', answer: StoredAnswer): void {
    const { spending, log } = this.#services;
    const record = this.#journal.cached(source, this.#input.request.model, answer.status);
    spending.ledger
      .append([record])
      .catch((error: unknown) => log.error('a cached answer could not be recorded', { id: record.id, error }));
  }

  /** Reserves, tries the targets, and settles. */
  async #ask(): Promise<void> {
    const { runaway } = this.#services;
    const { scopes, step } = this.#caller;
    const worst = this.#cost.worstCase(this.#plan.targets);
    const { door, json: body } = this.#input.request;
    const run = await runaway.check({
      ...{ scopes, step, body, format: door.format },
      worstCaseMicroUsd: worst.microUsd,
      worstCaseTokens: worst.tokens,
      inputTokens: this.#cost.inputTokens,
    });
    try {
      this.#hold = await this.#admit(worst);
      const release = runaway.onKill(scopes, (error) => this.abort(killed(error)));
      try {
        await this.#rounds.run(this.#hold);
      } finally {
        release();
        this.#settle();
      }
    } finally {
      await run.settle({ microUsd: sumMicroUsd(this.#journal.records), tokens: this.#tokens() });
    }
  }

  #admit(worst: WorstCase): Promise<Hold> {
    const { scopes } = this.#caller;
    const [first] = this.#plan.targets;
    if (first === undefined) throw new HoldfastError('gateway.endpoint_unsupported');
    return this.#services.spending.admit({
      callId: this.#journal.callId,
      scopes,
      worstCaseMicroUsd: worst.microUsd,
      inputMicroUsd: worst.inputMicroUsd,
      worstCaseTokens: worst.tokens,
      inputTokens: this.#cost.inputTokens,
      first: this.#journal.start(first),
    });
  }

  /**
   * Once: before the caller can see the end, so that a call it makes next finds what this one left of its budgets, and
   * whoever saw the answer finds its span.
   */
  #settle(): void {
    const hold = this.#hold;
    if (hold === null) return;
    this.#hold = null;
    this.#journal.callEnded();
    const { records, callId } = this.#journal;
    const done = records.length === 0 ? hold.release() : hold.settle(records);
    done.catch((error: unknown) => this.#services.log.error('a call could not be settled', { callId, error }));
  }

  #tokens(): number {
    return this.#journal.records.reduce(
      (sum, { usage }) => sum + (usage === null ? 0 : inputTokensOf(usage) + usage.outputTokens),
      0,
    );
  }

  /** Gives the answer to those who keep answers; false when it is none to keep. */
  async #keep(ticket: IdempotencyTicket | null, lookup: CacheLookup | null): Promise<boolean> {
    if (ticket === null && lookup === null) return false;
    const copy = this.#rounds.isComplete ? this.#input.sink.copy() : null;
    const usage: Usage | null = this.#journal.records.at(-1)?.usage ?? null;
    if (copy !== null) await lookup?.store({ ...copy, usage });
    if (ticket === null || !this.#rounds.isComplete) return false;
    // An answer that is too long to keep was given all the same: the key must not let it be done twice.
    if (copy === null) await ticket.lose();
    else await ticket.finish({ ...copy, usage });
    return true;
  }

  #refuse(error: HoldfastError): void {
    const { sink, request, requestId } = this.#input;
    if (sink.begun) {
      sink.breakOff();
      return;
    }
    const { status, headers, body } = errorReply(request.door.family, error, requestId);
    sink.whole(status, { ...headers, 'x-holdfast-trace-id': this.#journal.traceId }, body);
  }
}
