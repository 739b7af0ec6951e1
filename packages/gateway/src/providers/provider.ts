import type { Endpoint, WireFormat } from '../doors/endpoint.ts';

export type ProviderKind = 'openai' | 'anthropic' | 'gemini' | 'bedrock' | 'azure' | 'openai-compatible' | 'recorded';

/** One call as a provider gets it: already in a format that it speaks. */
export interface ProviderCall {
  readonly endpoint: Endpoint;
  /** One that `Provider.formatFor` answered. */
  readonly format: WireFormat;
  /** The model under the provider's own name; the body has it already where the format puts it there. */
  readonly model: string;
  readonly stream: boolean;
  readonly body: string | Uint8Array;
  readonly contentType: string;
  /** Headers of the caller that providers may see, in lower case; never its key, cookies or address. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Takes a chunk: null when there is room for more, a promise for when there will be, or that it was `enough`. */
export type ChunkTaker = (chunk: Uint8Array) => Promise<void> | 'enough' | null;

/** The bytes of an answer, one read at a time, so that a slow caller holds the provider back. */
export interface AnswerBody {
  /** The next bytes, null at the end. Rejects with the abort's reason, or with what broke the connection. */
  read(): Promise<Uint8Array | null>;
  /**
   * Hands over all that comes, without a promise for each chunk, which is half of what a stream costs otherwise. Resolves
   * at the end, or when the taker has enough; rejects like `read`, or with what the taker threw.
   */
  flow?(take: ChunkTaker): Promise<void>;
}

export interface ProviderAnswer {
  readonly status: number;
  /** Names in lower case; of a name that comes twice the values joined by a comma. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AnswerBody;
}

/** A configured provider: something that answers model calls over HTTP, or replays recorded answers. */
export interface Provider {
  readonly name: string;
  readonly kind: ProviderKind;
  /** Under which name `PriceTable.find` looks its models up, such as `openai`, `anthropic`, `google`, `aws`, `azure`. */
  readonly priceProvider: string;
  /** Replays recordings instead of asking a model. */
  readonly recorded: boolean;
  /** Longest silence in milliseconds: until the first byte of an answer, then between its bytes. */
  readonly timeoutMs: number;
  /** Models it is known to serve; null when it takes any name. */
  readonly models: readonly string[] | null;
  /**
   * The format in which it takes what came in `format` at `endpoint`: that same one when it speaks it, another to
   * translate into, or null when it cannot serve the call at all.
   */
  formatFor(endpoint: Endpoint, format: WireFormat): WireFormat | null;
  /** Resolves with the answer's head; its body is read afterwards. Rejects with the signal's reason once aborted. */
  send(call: ProviderCall, signal: AbortSignal): Promise<ProviderAnswer>;
}
