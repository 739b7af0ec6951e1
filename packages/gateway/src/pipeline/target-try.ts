import type { WireFormat } from '../doors/endpoint.ts';
import { receivedHeaders } from '../doors/sent-headers.ts';
import type { ProviderAnswer } from '../providers/provider.ts';
import type { Target } from '../routing/target.ts';
import { ownHeaders } from './answer-headers.ts';
import { Attempt } from './attempt.ts';
import type { AttemptFailure } from './attempt-failure.ts';
import { passBytes } from './byte-answer.ts';
import type { CallCost } from './call-cost.ts';
import type { CallInput } from './call-input.ts';
import type { AttemptOutcome, CallJournal } from './call-journal.ts';
import type { CallServices } from './call-services.ts';
import { tooLate } from './disconnection.ts';
import { nothingRead, outcomeOfFailure } from './outcomes.ts';
import { failureOfStatus } from './provider-failure.ts';
import { StreamedAnswer } from './streamed-answer.ts';
import { formatAt, targetCall } from './target-call.ts';
import type { TryContext } from './try-context.ts';
import { passWhole } from './whole-answer.ts';

export interface TargetTryOptions {
  readonly services: CallServices;
  readonly input: CallInput;
  readonly cost: CallCost;
  readonly journal: CallJournal;
  readonly target: Target;
  readonly variant: string | null;
  /** More headers for the answer. */
  readonly headers: Readonly<Record<string, string>>;
  /** The attempts are in the journal, and the caller does not see the end yet. */
  readonly settle: () => void;
}

const typeOf = (head: ProviderAnswer): string => head.headers['content-type'] ?? '';
const isEventStream = (head: ProviderAnswer): boolean => /^text\/event-stream\s*(;|$)/i.test(typeOf(head));
const isJsonType = (head: ProviderAnswer): boolean => /[/+]json\s*(;|$)/i.test(typeOf(head));

/** One try at one target, up to the end of its answer when it gives one. */
export class TargetTry implements TryContext {
  readonly services: CallServices;
  readonly input: CallInput;
  readonly cost: CallCost;
  readonly journal: CallJournal;
  readonly target: Target;
  readonly attempt: Attempt;
  read = nothingRead;
  /** Resolves when nothing of it is under way any more. */
  readonly over: Promise<void>;
  readonly #o: TargetTryOptions;
  readonly #isOver: () => void;
  #hasBegun = false;
  #isRecorded = false;
  #isComplete = false;
  #cancelLongest: () => void = () => undefined;

  constructor(options: TargetTryOptions) {
    this.#o = options;
    this.services = options.services;
    this.input = options.input;
    this.cost = options.cost;
    this.journal = options.journal;
    this.target = options.target;
    const { clock, limits } = options.services;
    this.attempt = new Attempt(options.target, clock, limits);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.over = promise;
    this.#isOver = resolve;
  }

  /** The first content is here. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** It answered in full, and that the call succeeded. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  abort(reason: AttemptFailure): void {
    this.attempt.abort(reason);
  }

  /** Null when the answer went to the caller, whole or as far as it came. Errors: those of a translation. */
  async run(): Promise<AttemptFailure | null> {
    const { target, input } = this;
    const format = formatAt(target, input.request);
    if (format === null) throw new TypeError(`${target.key} does not serve this call`);
    const { call, dropped } = targetCall(target, format, input.request, input.headers);
    this.journal.attemptStarts();
    target.health.begin();
    try {
      const head = await this.attempt.send(call);
      this.#isComplete = await this.#pass(format, head, dropped);
      return null;
    } catch (thrown) {
      if (this.#isRecorded) throw thrown;
      const failure = this.attempt.failureOf(thrown);
      this.attempt.abort(failure);
      this.#judge(failure);
      this.journal.attemptEnded(target, outcomeOfFailure(failure, this.read, this.cost));
      return failure;
    } finally {
      this.#cancelLongest();
      this.#isOver();
    }
  }

  begun(firstContentAt: number): void {
    const { clock, limits } = this.services;
    this.#hasBegun = true;
    this.attempt.begun();
    this.#well(firstContentAt - this.journal.attemptStartedAt);
    const { name } = this.target.provider;
    this.#cancelLongest = clock.after(limits.maxCallMs, () => this.abort(tooLate(name, limits.maxCallMs)));
  }

  ended(outcome: AttemptOutcome): void {
    if (this.#isRecorded) return;
    this.#isRecorded = true;
    const { errorClass } = outcome;
    if (!this.#hasBegun) {
      if (errorClass === null) this.#well(this.services.clock.monotonic() - this.journal.attemptStartedAt);
      else this.target.health.undecided();
    } else if (errorClass === 'stream_broken' || errorClass === 'timeout') this.#unwell();
    this.journal.attemptEnded(this.target, outcome);
    this.#o.settle();
  }

  headers(head: ProviderAnswer, dropped: readonly string[]): Record<string, string> {
    const { traceId } = this.journal;
    return {
      ...receivedHeaders(head.headers),
      ...ownHeaders(this.target, traceId, this.input.requestId, this.#o.variant, dropped),
      ...this.#o.headers,
    };
  }

  async #pass(format: WireFormat, head: ProviderAnswer, dropped: readonly string[]): Promise<boolean> {
    const { door, stream } = this.input.request;
    if (head.status >= 200 && head.status < 300) {
      this.read = { ...this.read, status: head.status };
      if (isEventStream(head) && (stream || !door.isJson))
        return await new StreamedAnswer(this, format, head, dropped).pass();
      if (!door.isJson && !isJsonType(head)) return await passBytes(this, format, head);
    }
    const body = await this.attempt.readAll();
    this.attempt.ended();
    const failure = failureOfStatus(this.target.provider.name, head, body, this.services.clock.now());
    if (failure !== null) throw failure;
    return passWhole(this, format, head, body, dropped);
  }

  #well(latencyMs: number): void {
    if (this.target.health.succeeded(latencyMs)) this.#tell('target.closed');
  }

  #unwell(): void {
    if (this.target.health.failed()) this.#tell('target.opened');
  }

  /** What a failure says of the target. */
  #judge({ facts }: AttemptFailure): void {
    const { health } = this.target;
    if (typeof facts.retryAfterMs === 'number' && facts.errorClass === 'rate_limited') {
      if (health.coolDown(facts.retryAfterMs)) this.#tell('target.closed');
      return;
    }
    if (facts.targetAtFault !== true) {
      health.undecided();
      return;
    }
    this.#unwell();
    if (typeof facts.retryAfterMs === 'number') health.leaveAlone(facts.retryAfterMs);
  }

  #tell(type: 'target.opened' | 'target.closed'): void {
    const { provider, model } = this.target;
    this.services.events.publish({
      workspaceId: this.input.principal.workspaceId,
      type,
      subject: `${provider.name}/${model}`.slice(0, 256),
      data: { provider: provider.name, model, ...this.target.health.report() },
      once: null,
    });
  }
}
