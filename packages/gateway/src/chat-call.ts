import { type Clock, HoldfastError } from '@holdfast/core';
import { type AnswerLimits, Attempt } from './attempt.ts';
import type { AttemptOutcome, CallJournal } from './call-journal.ts';
import type { ChatRequest } from './chat-request.ts';
import type { ChatStream } from './chat-stream.ts';
import { AttemptFailure, failureOf } from './failure.ts';
import { openAiErrorOf, openAiErrorResponse } from './openai-error.ts';
import { forwardedHeaders } from './provider-answer.ts';
import { eventOf } from './server-sent-events.ts';
import type { Target } from './targets.ts';

export interface ChatCallOptions {
  readonly request: ChatRequest;
  readonly targets: readonly Target[];
  /** The caller's headers that providers may see. */
  readonly headers: Headers;
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly limits: AnswerLimits;
}

const clientGone = (): AttemptFailure =>
  new AttemptFailure({
    errorClass: 'client_disconnected',
    error: new HoldfastError('gateway.stream_broken', 'The caller went away.'),
    failover: false,
  });

const outcomeOfFailure = (failure: AttemptFailure): AttemptOutcome => ({
  status: failure.facts.status ?? null,
  errorClass: failure.facts.errorClass,
  failure,
  usage: null,
  responseModel: null,
  firstContentAt: null,
});

/** One chat completion for a caller: tries the targets in order until one answers, and passes that answer on. */
export class ChatCall {
  readonly #options: ChatCallOptions;
  /** Resolves when the answer is over, whichever way, and everything about it is written down. */
  readonly settled: Promise<void>;
  readonly #settle: () => void;
  readonly #gone = new AbortController();

  constructor(options: ChatCallOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.#settle = resolve;
  }

  /** The caller disconnected. */
  disconnect(): void {
    this.abort(clientGone());
  }

  /** Ends the call and its connection to the provider, for this reason. */
  abort(reason: AttemptFailure): void {
    this.#gone.abort(reason);
  }

  async answer(): Promise<Response> {
    const { targets } = this.#options;
    try {
      for (const [i, target] of targets.entries()) {
        const result = await this.#try(target, i === targets.length - 1);
        if (result !== null) return result;
      }
      throw new HoldfastError('gateway.model_not_found', 'The route has no targets.');
    } catch (error) {
      this.#settle();
      throw error;
    }
  }

  /** Null when the next target should be tried. */
  async #try(target: Target, isLast: boolean): Promise<Response | null> {
    const { request, headers, journal, clock, limits } = this.#options;
    const attempt = new Attempt(target, this.#gone.signal, clock, limits);
    journal.attemptStarts();
    try {
      const answer = await attempt.open({ request, model: target.model, headers });
      if (answer.kind === 'stream') return this.#streamed(target, attempt, answer.head, answer.stream);
      const { head, body, facts } = answer;
      await this.#end(target, {
        status: head.status,
        errorClass: head.ok ? null : 'rejected',
        failure: null,
        usage: facts?.usage ?? null,
        responseModel: facts?.model ?? null,
        firstContentAt: null,
      });
      return new Response(body, { status: head.status, headers: this.#headers(target, head) });
    } catch (error) {
      const failure = failureOf(error);
      const outcome = outcomeOfFailure(failure);
      if (failure.facts.failover && !isLast) {
        await journal.attemptEnded(target, outcome);
        return null;
      }
      await this.#end(target, outcome);
      return this.#failed(target, failure);
    }
  }

  async #end(target: Target, outcome: AttemptOutcome): Promise<void> {
    const { journal } = this.#options;
    await journal.attemptEnded(target, outcome);
    journal.callEnded(target, outcome);
    this.#settle();
  }

  #headers(target: Target, head: Response): Headers {
    const headers = forwardedHeaders(head);
    for (const [name, value] of Object.entries(this.#ownHeaders(target))) headers.set(name, value);
    return headers;
  }

  #ownHeaders(target: Target): Record<string, string> {
    return {
      'x-holdfast-trace-id': this.#options.journal.traceId,
      'x-holdfast-provider': target.upstream.name,
      ...(target.upstream.recorded ? { 'x-holdfast-recorded': 'true' } : {}),
    };
  }

  #failed(target: Target, { facts }: AttemptFailure): Response {
    const { error, retryAfter } = facts;
    const details = { ...error.details, attempts: this.#options.journal.attempts };
    return openAiErrorResponse(new HoldfastError(error.code, error.message, details, { cause: error }), {
      ...this.#ownHeaders(target),
      ...(typeof retryAfter === 'string' && /^[\x20-\x7e]{1,128}$/.test(retryAfter)
        ? { 'retry-after': retryAfter }
        : {}),
    });
  }

  #streamed(target: Target, attempt: Attempt, head: Response, stream: ChatStream): Response {
    let over = false;
    /** Writes the ending down once, whoever notices it first. */
    const end = async (failure: AttemptFailure | null): Promise<void> => {
      if (over) return;
      over = true;
      await this.#end(target, streamOutcome(head, stream, failure));
    };
    const { signal } = this.#gone;
    // Also when nobody reads the answer any more, so that no pull would notice.
    signal.addEventListener('abort', () => void end(failureOf(signal.reason)), { once: true });
    let cancelled = false;
    const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
      try {
        const event = await stream.next();
        // Written down before the caller can see the end, so that whoever saw it finds the row.
        if (event === null || event.isDone) await end(null);
        if (cancelled) return;
        if (event !== null) controller.enqueue(event.bytes);
        // Nothing follows `[DONE]`; some providers leave the connection open after it.
        if (event !== null && !event.isDone) return;
      } catch (error) {
        const failure = failureOf(error);
        await end(failure);
        if (cancelled) return;
        controller.enqueue(eventOf(JSON.stringify(openAiErrorOf(failure.facts.error))));
      }
      attempt.close();
      controller.close();
    };
    const cancel = (): void => {
      cancelled = true;
      this.disconnect();
    };
    const headers = this.#headers(target, head);
    headers.set('cache-control', 'no-cache');
    const body = new ReadableStream<Uint8Array>({ pull, cancel }, { highWaterMark: 0 });
    return new Response(body, { status: head.status, headers });
  }
}

const streamOutcome = (head: Response, stream: ChatStream, failure: AttemptFailure | null): AttemptOutcome => {
  // A caller that leaves after the last event has got everything.
  const lost = failure !== null && !(stream.finished && failure.facts.errorClass === 'client_disconnected');
  return {
    status: head.status,
    errorClass: lost ? failure.facts.errorClass : stream.sawError ? 'provider_error' : null,
    failure: lost ? failure : null,
    usage: stream.usage,
    responseModel: stream.model,
    firstContentAt: stream.firstContentAt,
  };
};
