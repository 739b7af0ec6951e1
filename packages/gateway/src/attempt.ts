import { type Clock, HoldfastError } from '@holdfast/core';
import { readBounded } from './bounded-body.ts';
import { type ChatFacts, readChatDocument } from './chat-response.ts';
import { ChatStream } from './chat-stream.ts';
import { AttemptFailure } from './failure.ts';
import { failureOfStatus } from './provider-answer.ts';
import type { Target } from './targets.ts';
import type { UpstreamCall } from './upstream.ts';

export interface AnswerLimits {
  /** Longest whole answer, and longest stream. */
  readonly maxResponseBytes: number;
  /** Longest server-sent event. */
  readonly maxEventBytes: number;
}

/** What a target answered: everything at once, or a stream whose first content has arrived. */
export type Answer =
  | {
      readonly kind: 'whole';
      readonly head: Response;
      readonly body: Uint8Array<ArrayBuffer>;
      readonly facts: ChatFacts | null;
    }
  | { readonly kind: 'stream'; readonly head: Response; readonly stream: ChatStream };

const isEventStream = (head: Response): boolean =>
  /^text\/event-stream\s*(;|$)/i.test(head.headers.get('content-type') ?? '');

/** One try at one target. Ends with an answer or an `AttemptFailure`, and holds no connection after either is over. */
export class Attempt {
  readonly #target: Target;
  readonly #clock: Clock;
  readonly #limits: AnswerLimits;
  readonly #abort = new AbortController();
  readonly #gone: AbortSignal;
  readonly #onGone: () => void;
  #begun = false;

  /** `gone` ends the attempt early; its reason must be an `AttemptFailure`. */
  constructor(target: Target, gone: AbortSignal, clock: Clock, limits: AnswerLimits) {
    this.#target = target;
    this.#clock = clock;
    this.#limits = limits;
    this.#gone = gone;
    this.#onGone = () => this.#abort.abort(gone.reason);
    if (gone.aborted) this.#onGone();
    else gone.addEventListener('abort', this.#onGone, { once: true });
  }

  /** Asks the target and waits for the whole answer, or for the first content of a stream. */
  async open(call: UpstreamCall): Promise<Answer> {
    try {
      const head = await this.#within(this.#target.upstream.chat(call, this.#abort.signal));
      if (head.ok && call.request.stream && isEventStream(head)) return await this.#openStream(head, call);
      const body = await this.#readWhole(head);
      const failure = failureOfStatus(this.#target.upstream.name, head, body);
      if (failure !== null) throw failure;
      this.close();
      return { kind: 'whole', head, body, facts: readChatDocument(new TextDecoder().decode(body)) };
    } catch (error) {
      const failure = this.#failureOf(error);
      this.close(failure);
      throw failure;
    }
  }

  /** Ends the connection, if it is still there. */
  close(reason?: AttemptFailure): void {
    this.#gone.removeEventListener('abort', this.#onGone);
    this.#abort.abort(reason);
  }

  async #openStream(head: Response, call: UpstreamCall): Promise<Answer> {
    const stream = new ChatStream({
      read: this.#reader(head),
      failure: (error) => this.#failureOf(error),
      stripUsage: !call.request.wantsUsage,
      provider: this.#target.upstream.name,
      clock: this.#clock,
      ...this.#limits,
    });
    await stream.waitForContent();
    this.#begun = true;
    return { kind: 'stream', head, stream };
  }

  async #readWhole(head: Response): Promise<Uint8Array<ArrayBuffer>> {
    const { maxResponseBytes } = this.#limits;
    return await readBounded(this.#reader(head), maxResponseBytes, () => {
      const message = `The answer is longer than ${maxResponseBytes} bytes.`;
      return new HoldfastError('gateway.response_too_large', message, { provider: this.#target.upstream.name });
    });
  }

  #reader(head: Response): () => Promise<Uint8Array | null> {
    const reader = head.body?.getReader();
    return async () => {
      if (reader === undefined) return null;
      const { done, value } = await this.#within(reader.read());
      return done ? null : value;
    };
  }

  /** Waits for the provider, but no longer than its silence may last. */
  async #within<T>(work: Promise<T>): Promise<T> {
    const { name, timeoutMs } = this.#target.upstream;
    const cancel = this.#clock.after(timeoutMs, () => {
      const message = `${name} was silent for ${timeoutMs} ms.`;
      const error = new HoldfastError('gateway.provider_timeout', message, { provider: name, timeoutMs });
      this.#abort.abort(new AttemptFailure({ errorClass: 'timeout', error, failover: true }));
    });
    try {
      return await work;
    } finally {
      cancel();
    }
  }

  #failureOf(error: unknown): AttemptFailure {
    if (error instanceof AttemptFailure) return error;
    // Whatever an aborted fetch rejects with, the abort is the cause.
    const { signal } = this.#abort;
    if (signal.aborted && signal.reason instanceof AttemptFailure) return signal.reason;
    if (error instanceof HoldfastError) {
      const errorClass =
        error.code === 'gateway.response_too_large'
          ? 'response_too_large'
          : error.code === 'gateway.recording_exhausted'
            ? 'recording_exhausted'
            : 'rejected';
      return new AttemptFailure({ errorClass, error, failover: false });
    }
    const { name } = this.#target.upstream;
    const details = { provider: name, reason: reasonOf(error) };
    if (this.#begun)
      return new AttemptFailure({
        errorClass: 'stream_broken',
        error: new HoldfastError('gateway.stream_broken', `The stream of ${name} broke off.`, details, {
          cause: error,
        }),
        failover: false,
      });
    return new AttemptFailure({
      errorClass: 'connection',
      error: new HoldfastError('gateway.provider_unreachable', `${name} cannot be reached.`, details, { cause: error }),
      failover: true,
    });
  }
}

const codeOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;

/** A short name such as `ECONNREFUSED`; never a message, which may carry addresses. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  return codeOf(cause) ?? codeOf(error) ?? 'unknown';
};
