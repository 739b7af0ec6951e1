import { type Clock, HoldfastError } from '@holdfast/core';
import type { AnswerBody, ChunkTaker, ProviderAnswer, ProviderCall } from '../providers/provider.ts';
import type { Target } from '../routing/target.ts';
import { AttemptFailure, type ErrorClass } from './attempt-failure.ts';

export interface AnswerLimits {
  /** Longest whole answer, and longest stream. */
  readonly maxResponseBytes: number;
  /** Longest server-sent event. */
  readonly maxEventBytes: number;
}

/** After its last event a stream's connection gets this long to end by itself, so that it can be used again. */
const lingerMs = 1_000;

const classOf = (code: HoldfastError['code']): ErrorClass => {
  if (code === 'gateway.response_too_large') return 'response_too_large';
  if (code === 'gateway.recording_exhausted') return 'recording_exhausted';
  if (code === 'gateway.stream_broken') return 'stream_broken';
  return code === 'gateway.provider_refused' ? 'refused' : 'rejected';
};

const codeOf = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;

/** A short name such as `ECONNREFUSED`; never a message, which may carry addresses. */
const reasonOf = (error: unknown): string => {
  const cause = error instanceof Error ? error.cause : undefined;
  return codeOf(cause) ?? codeOf(error) ?? 'unknown';
};

/** One try at one target: a connection to it, watched for silence. Whatever it rejects with is an `AttemptFailure`. */
export class Attempt {
  readonly target: Target;
  readonly #clock: Clock;
  readonly #limits: AnswerLimits;
  readonly #abort = new AbortController();
  readonly #cancelWatch: { cancel: () => void } = { cancel: () => undefined };
  #body: AnswerBody | null = null;
  #receivedBytes = 0;
  /** Since when the provider owes us something; null while it does not. */
  #waitingSince: number | null = null;
  #begun = false;

  constructor(target: Target, clock: Clock, limits: AnswerLimits) {
    this.target = target;
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Sends the call, and resolves with the head of the answer. */
  async send(call: ProviderCall): Promise<ProviderAnswer> {
    this.#waitingSince = this.#clock.monotonic();
    this.#watch(this.target.provider.timeoutMs);
    try {
      const answer = await this.target.provider.send(call, this.#abort.signal);
      this.#body = answer.body;
      return answer;
    } catch (error) {
      throw this.failureOf(error);
    } finally {
      this.#waitingSince = null;
    }
  }

  /** The next bytes, null at the end. */
  read(): Promise<Uint8Array | null> {
    if (this.#body === null) return Promise.resolve(null);
    this.#waitingSince = this.#clock.monotonic();
    return this.#body.read().then(this.#onChunk, this.#onFailure);
  }

  readonly #onChunk = (chunk: Uint8Array | null): Uint8Array | null => {
    this.#waitingSince = null;
    if (chunk !== null) this.#count(chunk);
    return chunk;
  };

  #count(chunk: Uint8Array): void {
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes > this.#limits.maxResponseBytes) throw this.failureOf(this.#tooLarge());
  }

  readonly #onFailure = (error: unknown): never => {
    this.#waitingSince = null;
    throw this.failureOf(error);
  };

  /** Hands over all that comes from here on; resolves at the end, or when the taker has enough. */
  async flow(take: ChunkTaker): Promise<void> {
    const body = this.#body;
    if (body === null) return;
    const owed = (): void => {
      this.#waitingSince = this.#clock.monotonic();
    };
    owed();
    const taken: ChunkTaker = (chunk) => {
      this.#count(chunk);
      const answer = take(chunk);
      owed();
      if (!(answer instanceof Promise)) return answer;
      // It is the caller who is slow now.
      this.#waitingSince = null;
      return answer.then(owed);
    };
    try {
      await (body.flow === undefined ? pull(body, taken) : body.flow(taken));
      this.#waitingSince = null;
    } catch (error) {
      this.#onFailure(error);
    }
  }

  /** The whole answer. */
  async readAll(): Promise<Buffer> {
    const first = await this.read();
    if (first === null) return Buffer.alloc(0);
    const chunks = [first];
    for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) chunks.push(chunk);
    return chunks.length === 1
      ? Buffer.from(first.buffer, first.byteOffset, first.length)
      : Buffer.concat(chunks, this.#receivedBytes);
  }

  /** The answer has begun: what breaks now is a broken stream, not a target that could not be reached. */
  begun(): void {
    this.#begun = true;
  }

  /** Ends the attempt for this reason, which what is waiting for it rejects with. */
  abort(reason: AttemptFailure): void {
    this.#cancelWatch.cancel();
    this.#abort.abort(reason);
  }

  /** All that was wanted is here: lets the connection come to its end, so that the next call can use it. */
  finish(): void {
    this.#cancelWatch.cancel();
    const body = this.#body;
    if (body === null) return;
    const cancel = this.#clock.after(lingerMs, () => this.#abort.abort(new Error('the answer was over')));
    const drain = async (): Promise<void> => {
      try {
        for (let rest = 0; rest < this.#limits.maxEventBytes; ) {
          const chunk = await body.read();
          if (chunk === null) return;
          rest += chunk.length;
        }
        this.#abort.abort(new Error('the answer was over'));
      } catch {
        // It broke off after everything was here.
      } finally {
        cancel();
      }
    };
    void drain();
  }

  /** Everything was read. */
  ended(): void {
    this.#cancelWatch.cancel();
  }

  failureOf(error: unknown): AttemptFailure {
    if (error instanceof AttemptFailure) return error;
    const { signal } = this.#abort;
    if (signal.aborted && signal.reason instanceof AttemptFailure) return signal.reason;
    if (error instanceof HoldfastError)
      return new AttemptFailure({ errorClass: classOf(error.code), error, failover: false });
    const { name } = this.target.provider;
    const details = { provider: name, reason: reasonOf(error) };
    const broken = this.#begun;
    return new AttemptFailure({
      errorClass: broken ? 'stream_broken' : 'connection',
      error: new HoldfastError(
        broken ? 'gateway.stream_broken' : 'gateway.provider_unreachable',
        broken ? `The stream of ${name} broke off.` : `${name} cannot be reached.`,
        details,
        { cause: error },
      ),
      failover: !broken,
      targetAtFault: true,
    });
  }

  #tooLarge(): HoldfastError {
    const { maxResponseBytes } = this.#limits;
    return new HoldfastError('gateway.response_too_large', `The answer is longer than ${maxResponseBytes} bytes.`, {
      provider: this.target.provider.name,
    });
  }

  /** One timer for the whole attempt: it looks how long the provider has been silent, and comes back when it may be over. */
  #watch(ms: number): void {
    const { name, timeoutMs } = this.target.provider;
    this.#cancelWatch.cancel = this.#clock.after(ms, () => {
      const since = this.#waitingSince;
      const silentMs = since === null ? 0 : this.#clock.monotonic() - since;
      if (silentMs < timeoutMs) {
        this.#watch(timeoutMs - silentMs);
        return;
      }
      const message = `${name} was silent for ${timeoutMs} ms.`;
      const error = new HoldfastError('gateway.provider_timeout', message, { provider: name, timeoutMs });
      this.abort(new AttemptFailure({ errorClass: 'timeout', error, failover: !this.#begun, targetAtFault: true }));
    });
  }
}

/** The same for a body that can only be read. */
const pull = async (body: AnswerBody, take: ChunkTaker): Promise<void> => {
  for (let chunk = await body.read(); chunk !== null; chunk = await body.read()) {
    const answer = take(chunk);
    if (answer === 'enough') return;
    if (answer !== null) await answer;
  }
};
