import type { HoldfastError } from '@holdfast/core';

/**
 * The wire formats of models, and what the gateway knows of each. The functions over these types are pure:
 * `translate.ts` (requests, answers, streams), `usage.ts` (tokens), `estimate.ts` (upper bounds before a call) and
 * `error-answer.ts` (errors as each SDK expects them). Nothing here reads a clock, a socket or the environment.
 */

/** The four formats that are translated into each other. */
export type Format = 'openai-chat' | 'openai-responses' | 'anthropic' | 'gemini';

export const formats = ['openai-chat', 'openai-responses', 'anthropic', 'gemini'] as const satisfies readonly Format[];

/** Formats that are never translated, only estimated and counted. */
export type OtherFormat = 'openai-embeddings' | 'openai-images' | 'openai-audio' | 'gemini-embed' | 'anthropic-count';

export type JsonObject = { readonly [key: string]: unknown };

/**
 * Tokens of one answer. The five counts of input are disjoint: `inputTokens` were read uncached. `outputTokens`
 * includes `reasoningTokens`.
 */
export interface Usage {
  readonly inputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWrite5mTokens: number;
  readonly cacheWrite1hTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
}

export interface Translated<T> {
  readonly value: T;
  /**
   * JSON paths in the source that could not be carried, for the header `holdfast-not-carried`: at most
   * `maxDropped` of them, each printable ASCII without commas; when there were more, the last one is `...`.
   */
  readonly dropped: readonly string[];
}

/** One server-sent event, its `data` lines joined; `event` is null when the source names none. */
export interface SseEvent {
  readonly event: string | null;
  readonly data: string;
}

/** Turns the events of one stream into those of another format. Throws `gateway.stream_broken` and nothing else. */
export interface StreamTranslator {
  push(event: SseEvent): readonly SseEvent[];
  /** What the target format still needs after the source has ended, also when it ended too early. Idempotent. */
  end(): readonly SseEvent[];
  readonly dropped: readonly string[];
}

/** Reads a stream in passing, never changing it. Its methods never throw: what it cannot read it leaves out. */
export interface UsageReader {
  push(event: SseEvent): void;
  /** The newest figures so far; Anthropic gives those of the input with the first event. */
  readonly usage: Usage | null;
  /** True from the first event on that carries something the model wrote. */
  readonly hasContent: boolean;
  /** True when the stream ended as its format ends it, with an error too. */
  readonly finished: boolean;
  readonly responseModel: string | null;
  /** An error event of the provider; `status` is the HTTP status it stands for, when that is known. */
  readonly error: { readonly status: number | null; readonly message: string } | null;
}

/** An upper bound of what a call can use. */
export interface Estimate {
  /** Never below the true count: a token is at least one byte of UTF-8, and images and files have fixed sums. */
  readonly inputTokens: number;
  /** The cap that the request sets for one choice, reasoning included; null when it sets none. */
  readonly maxOutputTokens: number | null;
  /** How many answers are asked for. */
  readonly choices: number;
}

/** Whose error shape a caller expects. */
export type Door = 'openai' | 'anthropic' | 'gemini';

export interface ErrorAnswer {
  readonly status: number;
  readonly body: JsonObject;
}

export type TranslateRequest = (from: Format, to: Format, body: JsonObject, model: string) => Translated<JsonObject>;
export type TranslateResponse = TranslateRequest;
export type ErrorAnswerOf = (door: Door, error: HoldfastError, requestId: string) => ErrorAnswer;
