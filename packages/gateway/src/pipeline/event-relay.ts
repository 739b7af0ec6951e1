import { type Clock, HoldfastError } from '@holdfast/core';
import type { Format, SseEvent, StreamTranslator, UsageReader } from '../formats/format.ts';
import { AttemptFailure } from './attempt-failure.ts';
import { failureOfEvent } from './provider-failure.ts';
import { EventSplitter, parseEvent } from './server-sent-events.ts';

/** Events without content that are held back before the answer counts as begun. */
const maxHeldEvents = 256;

export interface EventRelayOptions {
  /** Next bytes of the provider, null at the end. Rejects with an `AttemptFailure`. */
  readonly read: () => Promise<Uint8Array | null>;
  /** The format of the provider's events; null for those that are not read, only passed on. */
  readonly format: Format | null;
  readonly reader: UsageReader;
  /** Into the caller's format, when that is another one. */
  readonly translator: StreamTranslator | null;
  /** Leaves the usage chunk out, since the caller did not ask for it. */
  readonly stripUsage: boolean;
  readonly provider: string;
  readonly clock: Clock;
  readonly maxEventBytes: number;
  readonly write: (event: SseEvent) => string;
}

/** A chunk of OpenAI's chat completions that only tells usage. */
const isOnlyUsage = (data: string): boolean =>
  data.includes('"usage"') && /"usage"\s*:\s*\{/.test(data) && /"choices"\s*:\s*\[\s*\]/.test(data);

/** Nothing of interest follows this event, and some providers leave the connection open after it. */
const isLast = (format: Format | null, { event, data }: SseEvent): boolean => {
  switch (format) {
    case 'openai-chat':
      return data.length < 16 && data.trim() === '[DONE]';
    case 'anthropic':
      return event === 'message_stop' || (event === null && data.includes('"message_stop"'));
    case 'openai-responses':
      return event === 'response.completed' || event === 'response.incomplete' || event === 'response.failed';
    default:
      return false;
  }
};

/** The events of a streamed answer on their way to the caller: read in passing, and forwarded byte for byte or translated. */
export class EventRelay {
  readonly #o: EventRelayOptions;
  readonly #splitter: EventSplitter;
  readonly #held: (Buffer | string)[] = [];
  #heldEvents = 0;
  #sourceEnded = false;
  #over = false;
  /** `Clock.monotonic` of the first content. */
  firstContentAt: number | null = null;
  /** Events that carried something since the answer began: a floor for the tokens of one that broke off. */
  events = 0;

  constructor(options: EventRelayOptions) {
    this.#o = options;
    this.#splitter = new EventSplitter(options.maxEventBytes);
  }

  /** The last event that counts was passed on. */
  get isOver(): boolean {
    return this.#over;
  }

  /**
   * Reads until the answer has really begun, and keeps what it read. Until then another target can still take over
   * unnoticed: an error event, or an end without an answer, rejects.
   */
  async waitForContent(): Promise<void> {
    const { reader } = this.#o;
    while (this.firstContentAt === null && !reader.finished && !this.#over && this.#heldEvents < maxHeldEvents) {
      const more = this.#fill(await this.#o.read());
      if (reader.error !== null && this.firstContentAt === null) throw failureOfEvent(this.#o.provider, reader.error);
      if (!more && this.#o.format !== null && !this.#over) throw this.#broken(true);
      if (!more) return;
    }
    // An answer without content, such as one that was filtered, began with its end.
    this.firstContentAt ??= this.#o.clock.monotonic();
  }

  /** More bytes of the provider. */
  take(chunk: Uint8Array): void {
    this.#fill(chunk);
  }

  /** The provider has ended its answer. Throws an `AttemptFailure` when that is too early. */
  sourceEnded(): void {
    if (!this.#sourceEnded) this.#fill(null);
    this.#checkEnd();
  }

  /** What is to be written next; null when there is nothing. */
  takeHeld(): Buffer | string | null {
    const [first, ...rest] = this.#held;
    this.#held.length = 0;
    if (first === undefined) return null;
    if (rest.length === 0) return first;
    return Buffer.concat([first, ...rest].map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)));
  }

  #checkEnd(): void {
    const { reader, format } = this.#o;
    if (format !== null && !this.#over && !reader.finished && reader.error === null) throw this.#broken(false);
  }

  /** Takes what was read; false at the end. */
  #fill(chunk: Uint8Array | null): boolean {
    if (chunk === null) {
      this.#sourceEnded = true;
      const rest = this.#splitter.rest();
      if (rest.length > 0) this.#take(rest, [rest.length]);
      if (this.#o.reader.finished || this.#o.reader.error !== null) this.#endTranslation();
      return rest.length > 0;
    }
    const { bytes, ends } = this.#splitter.push(chunk);
    if (ends.length > 0) this.#take(bytes, ends);
    return true;
  }

  /** Events that lie side by side and are passed on as they are go out in one piece. */
  #take(bytes: Buffer, ends: readonly number[]): void {
    let start = 0;
    let keptFrom = 0;
    for (const end of ends) {
      if (this.#over) return;
      if (!this.#passes(bytes.subarray(start, end))) {
        if (start > keptFrom) this.#held.push(bytes.subarray(keptFrom, start));
        keptFrom = end;
      }
      start = end;
      if (this.#over) break;
    }
    if (start > keptFrom) this.#held.push(bytes.subarray(keptFrom, start));
  }

  /** Reads one event; false when it is not passed on as it is. */
  #passes(bytes: Buffer): boolean {
    const { reader, translator, stripUsage, format } = this.#o;
    this.#heldEvents += 1;
    const event = parseEvent(bytes);
    if (event === null) return translator === null;
    const last = isLast(format, event);
    if (format !== null) reader.push(event);
    else this.firstContentAt ??= this.#o.clock.monotonic();
    if (reader.hasContent) {
      this.firstContentAt ??= this.#o.clock.monotonic();
      this.events += 1;
    }
    if (last) this.#over = true;
    if (translator !== null) {
      this.#pushTranslated(translator.push(event));
      if (last) this.#endTranslation();
      return false;
    }
    return !(stripUsage && isOnlyUsage(event.data));
  }

  #endTranslation(): void {
    const { translator } = this.#o;
    if (translator !== null) this.#pushTranslated(translator.end());
  }

  #pushTranslated(events: readonly SseEvent[]): void {
    let text = '';
    for (const event of events) if (!(this.#o.stripUsage && isOnlyUsage(event.data))) text += this.#o.write(event);
    if (text !== '') this.#held.push(text);
  }

  #broken(failover: boolean): AttemptFailure {
    const { provider } = this.#o;
    const error = new HoldfastError('gateway.stream_broken', `The stream of ${provider} ended without an end.`, {
      provider,
    });
    return new AttemptFailure({ errorClass: 'stream_broken', error, failover, targetAtFault: true });
  }
}
