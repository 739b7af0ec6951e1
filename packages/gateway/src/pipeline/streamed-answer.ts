import { isTranslatable, type WireFormat } from '../doors/endpoint.ts';
import { errorEvent } from '../formats/error-answer.ts';
import type { UsageReader } from '../formats/format.ts';
import { streamTranslator } from '../formats/translate.ts';
import { usageReader } from '../formats/usage.ts';
import type { ProviderAnswer } from '../providers/provider.ts';
import { usedOther } from './answer-facts.ts';
import type { AttemptFailure } from './attempt-failure.ts';
import { EventRelay } from './event-relay.ts';
import { type Framing, framingOf } from './framing.ts';
import { outcomeOfAnswer, outcomeOfFailure } from './outcomes.ts';
import type { TryContext } from './try-context.ts';

/** A streamed answer on its way: before its first content it may fail unnoticed, afterwards it ends with an error event. */
export class StreamedAnswer {
  readonly #context: TryContext;
  readonly #format: WireFormat;
  readonly #head: ProviderAnswer;
  readonly #reader: UsageReader;
  readonly #framing: Framing;
  readonly #relay: EventRelay;
  readonly #dropped: readonly string[];

  constructor(context: TryContext, format: WireFormat, head: ProviderAnswer, dropped: readonly string[]) {
    const { input, services, attempt, target } = context;
    const { door, model, wantsUsage } = input.request;
    this.#context = context;
    this.#format = format;
    this.#head = head;
    this.#framing = framingOf(input.asJsonList);
    const source = isTranslatable(format) ? format : null;
    // Images and speech tell usage with their last event, as the responses API does.
    this.#reader = usageReader(source ?? 'openai-responses');
    const translator =
      source !== null && isTranslatable(door.format) && source !== door.format
        ? streamTranslator(source, door.format, model, {
            ...{ includeUsage: wantsUsage, id: input.requestId },
            createdSeconds: Math.floor(services.clock.now() / 1_000),
          })
        : this.#framing.translator;
    this.#dropped = translator === null ? dropped : [...dropped, ...translator.dropped];
    this.#relay = new EventRelay({
      ...{ format: source, reader: this.#reader, translator, clock: services.clock },
      read: () => attempt.read(),
      write: (event) => this.#framing.write(event),
      stripUsage: door.format === 'openai-chat' && !wantsUsage,
      provider: target.provider.name,
      maxEventBytes: services.limits.maxEventBytes,
    });
  }

  /** True when it came to its end. Rejects before the first content with an `AttemptFailure`, and never later. */
  async pass(): Promise<boolean> {
    const { input, attempt, services } = this.#context;
    const { sink } = input;
    try {
      await this.#relay.waitForContent();
    } finally {
      this.#note();
    }
    this.#context.begun(this.#relay.firstContentAt ?? services.clock.monotonic());
    const headers = { ...this.#context.headers(this.#head, this.#dropped), ...this.#framing.headers };
    sink.begin(this.#head.status, this.#framed(headers), true);
    let failure: AttemptFailure | null = null;
    try {
      await this.#passEvents();
    } catch (thrown) {
      failure = attempt.failureOf(thrown);
      if (!this.#endedAnyway(failure)) void sink.write(this.#errorEvent(failure));
    }
    const end = this.#framing.end();
    if (end !== '') void sink.write(end);
    sink.end();
    if (failure === null) attempt.finish();
    else attempt.abort(failure);
    return failure === null && this.#reader.error === null;
  }

  /** The provider's own content type where its events pass as they are. */
  #framed(headers: Record<string, string>): Record<string, string> {
    const own = this.#head.headers['content-type'];
    return this.#context.input.asJsonList || own === undefined ? headers : { ...headers, 'content-type': own };
  }

  /** As fast as the caller takes them. */
  async #passEvents(): Promise<void> {
    const held = this.#forward();
    if (held === 'enough') return;
    if (held !== null) await held;
    await this.#context.attempt.flow((chunk) => {
      this.#relay.take(chunk);
      return this.#forward();
    });
    if (this.#relay.isOver) return;
    this.#relay.sourceEnded();
    this.#end();
    void this.#forward();
  }

  /** Writes what is there. */
  #forward(): Promise<void> | 'enough' | null {
    const piece = this.#relay.takeHeld();
    const { isOver } = this.#relay;
    if (isOver) this.#end();
    const room = piece === null ? null : this.#context.input.sink.write(piece);
    return isOver ? 'enough' : room;
  }

  #note(): void {
    const { usage, responseModel } = this.#reader;
    const { events: contentEvents, firstContentAt } = this.#relay;
    const other = usedOther(this.#format, this.#context.input.request.json, null);
    this.#context.read = { status: this.#head.status, usage, responseModel, contentEvents, firstContentAt, other };
  }

  #end(): void {
    this.#note();
    const { read, cost } = this.#context;
    const errorClass = this.#reader.error === null ? null : 'provider_error';
    this.#context.ended(outcomeOfAnswer({ ...read, status: this.#head.status }, errorClass, cost));
  }

  /** A caller that leaves after the model has ended its answer has got everything: true then. */
  #endedAnyway(failure: AttemptFailure): boolean {
    this.#note();
    if (failure.facts.errorClass === 'client_disconnected' && this.#reader.finished) {
      this.#end();
      return true;
    }
    this.#context.ended(outcomeOfFailure(failure, this.#context.read, this.#context.cost));
    return false;
  }

  #errorEvent({ facts }: AttemptFailure): string {
    const { format } = this.#context.input.request.door;
    return this.#framing.write(errorEvent(isTranslatable(format) ? format : 'openai-chat', facts.error));
  }
}
