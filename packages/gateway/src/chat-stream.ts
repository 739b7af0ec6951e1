import { type Clock, HoldfastError } from '@holdfast/core';
import { type ChatFacts, readChatDocument } from './chat-response.ts';
import { AttemptFailure } from './failure.ts';
import type { Usage } from './prices.ts';
import { EventSplitter, eventData } from './server-sent-events.ts';

/** Events without content that are held back before the answer counts as begun. */
const maxHeldEvents = 256;

export interface ChatStreamOptions {
  /** Next bytes of the provider, null at the end. */
  readonly read: () => Promise<Uint8Array | null>;
  readonly failure: (error: unknown) => AttemptFailure;
  /** Leaves the usage chunk out, since the caller did not ask for it. */
  readonly stripUsage: boolean;
  readonly provider: string;
  readonly clock: Clock;
  readonly maxResponseBytes: number;
  readonly maxEventBytes: number;
}

export interface StreamEvent {
  /** As the provider sent it. */
  readonly bytes: Uint8Array;
  /** `[DONE]`: nothing of interest follows. */
  readonly isDone: boolean;
}

/** The events of a streamed chat completion, forwarded byte for byte and read on the way. */
export class ChatStream {
  readonly #options: ChatStreamOptions;
  readonly #splitter: EventSplitter;
  readonly #queue: StreamEvent[] = [];
  #receivedBytes = 0;
  #ended = false;

  usage: Usage | null = null;
  model: string | null = null;
  /** `Clock.monotonic` of the first content. */
  firstContentAt: number | null = null;
  /** The model has ended its answer, or the provider said `[DONE]`. */
  finished = false;
  /** The provider sent an error event of its own; it is forwarded like any other. */
  sawError = false;

  constructor(options: ChatStreamOptions) {
    this.#options = options;
    this.#splitter = new EventSplitter(options.maxEventBytes);
  }

  /**
   * Reads until the answer has really begun, and keeps what it read. Until then another target can still take over
   * unnoticed: an error event, or an end without an answer, rejects.
   */
  async waitForContent(): Promise<void> {
    while (this.firstContentAt === null && !this.finished && this.#queue.length < maxHeldEvents) {
      const more = await this.#fill();
      if (this.sawError && this.firstContentAt === null)
        throw new AttemptFailure({
          errorClass: 'provider_error',
          error: new HoldfastError(
            'gateway.provider_failed',
            `${this.#options.provider} answered with an error event.`,
            {
              provider: this.#options.provider,
            },
          ),
          failover: true,
        });
      if (!more) throw this.#broken(true);
    }
  }

  /** The next event to forward, null at the end. Throws an `AttemptFailure`. */
  async next(): Promise<StreamEvent | null> {
    for (;;) {
      const event = this.#queue.shift();
      if (event !== undefined) return event;
      if (this.#ended) return null;
      try {
        await this.#fill();
      } catch (error) {
        throw this.#options.failure(error);
      }
      if (this.#ended && this.#queue.length === 0 && !this.finished && !this.sawError) throw this.#broken(false);
    }
  }

  /** Reads once; false at the end. */
  async #fill(): Promise<boolean> {
    const chunk = await this.#options.read();
    if (chunk === null) {
      this.#ended = true;
      const rest = this.#splitter.rest();
      if (rest.length > 0) this.#take(rest);
      return rest.length > 0;
    }
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#options.maxResponseBytes)
      throw new HoldfastError('gateway.response_too_large', 'The stream is too long.', {
        maxBytes: this.#options.maxResponseBytes,
      });
    for (const bytes of this.#splitter.push(chunk)) this.#take(bytes);
    return true;
  }

  #take(bytes: Uint8Array): void {
    const data = eventData(bytes);
    const isDone = data?.trim() === '[DONE]';
    if (isDone) this.finished = true;
    const facts = data === null || isDone ? null : readChatDocument(data);
    if (facts !== null) this.#learn(facts);
    if (facts?.onlyUsage === true && this.#options.stripUsage) return;
    this.#queue.push({ bytes, isDone });
  }

  #learn(facts: ChatFacts): void {
    this.usage = facts.usage ?? this.usage;
    this.model ??= facts.model;
    this.finished ||= facts.finished;
    this.sawError ||= facts.isError;
    if (facts.hasContent) this.firstContentAt ??= this.#options.clock.monotonic();
  }

  #broken(failover: boolean): AttemptFailure {
    const { provider } = this.#options;
    const error = new HoldfastError('gateway.stream_broken', `The stream of ${provider} ended without an end.`, {
      provider,
    });
    return new AttemptFailure({ errorClass: 'stream_broken', error, failover });
  }
}
