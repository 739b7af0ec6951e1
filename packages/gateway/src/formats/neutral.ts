import type { JsonObject, Usage } from './format.ts';

/**
 * The neutral form: what the four formats have in common, and what any two of them have. Each format reads into it and
 * writes out of it, so that twelve directions need eight translators. `at` is where something stood in the source, so
 * that a writer that cannot carry it can name it.
 */

/** Who made an opaque token that proves or holds a model's thinking; only its maker can read it. */
export type Origin = 'openai' | 'anthropic' | 'anthropic-redacted' | 'gemini';

export interface Signature {
  readonly origin: Origin;
  /** Id of the item in OpenAI's responses, else empty. */
  readonly id: string;
  readonly value: string;
}

/** A cache breakpoint behind a part: as long as the provider keeps it by default, or longer. */
export type Cache = 'default' | 'long' | null;

export interface TextPart {
  readonly kind: 'text';
  readonly text: string;
  readonly at: string;
  readonly cache: Cache;
  /** Gemini signs text parts too. */
  readonly signature: Signature | null;
}

export type MediaSource =
  | { readonly kind: 'data'; readonly mimeType: string; readonly base64: string }
  | { readonly kind: 'url'; readonly url: string; readonly mimeType: string | null }
  /** A file in the store of one provider: no other has it. */
  | { readonly kind: 'file'; readonly id: string };

export interface MediaPart {
  readonly kind: 'media';
  readonly media: 'image' | 'document' | 'audio' | 'video';
  readonly source: MediaSource;
  readonly name: string | null;
  readonly detail: string | null;
  readonly at: string;
  readonly cache: Cache;
}

export interface ThinkingPart {
  readonly kind: 'thinking';
  readonly text: string;
  readonly signature: Signature | null;
  readonly at: string;
}

export interface RefusalPart {
  readonly kind: 'refusal';
  readonly text: string;
  readonly at: string;
}

/** Arguments of a call as their source has them: JSON text, which a model may have left incomplete, or an object. */
export type CallArguments =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'object'; readonly value: JsonObject };

export interface CallPart {
  readonly kind: 'call';
  readonly id: string;
  readonly name: string;
  readonly input: CallArguments;
  /** A custom tool of OpenAI: its input is free text. */
  readonly custom: boolean;
  readonly signature: Signature | null;
  readonly at: string;
  readonly cache: Cache;
}

export interface ResultPart {
  readonly kind: 'result';
  readonly callId: string;
  /** Name of the tool, when the source says it. */
  readonly name: string | null;
  readonly content: readonly (TextPart | MediaPart)[];
  readonly isError: boolean;
  readonly custom: boolean;
  readonly at: string;
  readonly cache: Cache;
}

export type Part = TextPart | MediaPart | ThinkingPart | RefusalPart | CallPart | ResultPart;

export interface Turn {
  readonly role: 'user' | 'assistant';
  readonly parts: Part[];
  readonly at: string;
}

export interface ToolDefinition {
  readonly name: string;
  readonly description: string | null;
  /** JSON Schema of the arguments; null when there are none. */
  readonly schema: JsonObject | null;
  readonly strict: boolean | null;
  /** Grammar of a custom tool's input, `{}` for any text; null for an ordinary tool. */
  readonly custom: JsonObject | null;
  readonly at: string;
  readonly cache: Cache;
}

/** Some tool must, or may, be called; with names, one of those. */
export interface NamedToolChoice {
  readonly mode: 'required' | 'allowed';
  readonly names: readonly string[];
  readonly at: string;
}

export type ToolChoice =
  | { readonly mode: 'auto'; readonly at: string }
  | { readonly mode: 'none'; readonly at: string }
  | NamedToolChoice;

export type OutputShape =
  | { readonly kind: 'json'; readonly at: string }
  | {
      readonly kind: 'schema';
      readonly schema: JsonObject;
      readonly name: string | null;
      readonly description: string | null;
      readonly strict: boolean | null;
      readonly at: string;
    };

export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max';

/** How much a model shall think. `budgetTokens` and `effort` exclude each other in no format, and rarely come both. */
export interface Thinking {
  readonly effort: Effort | null;
  readonly budgetTokens: number | null;
  /** True when the caller asks to see the thoughts. */
  readonly visible: boolean | null;
  readonly at: string;
}

/** Plain settings; their names in each format are in `option-names.ts`. */
export interface Options {
  maxOutputTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  seed?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  choices?: number;
  logprobs?: boolean;
  topLogprobs?: number;
  parallelCalls?: boolean;
  user?: string;
  serviceTier?: string;
  verbosity?: string;
  cacheKey?: string;
  metadata?: JsonObject;
}

export interface NeutralRequest {
  readonly system: TextPart[];
  readonly turns: Turn[];
  readonly tools: ToolDefinition[];
  readonly options: Options;
  readonly stop: readonly string[];
  toolChoice: ToolChoice | null;
  output: OutputShape | null;
  thinking: Thinking | null;
  stream: boolean;
}

export type StopReason =
  | 'stop'
  | 'stop_sequence'
  | 'length'
  | 'context_window'
  | 'calls'
  | 'content_filter'
  | 'refusal'
  | 'pause'
  | 'malformed_call'
  | 'other';

export interface Stop {
  readonly reason: StopReason;
  readonly sequence: string | null;
}

export interface Choice {
  readonly index: number;
  readonly parts: Part[];
  readonly stop: Stop;
}

export interface NeutralAnswer {
  readonly id: string | null;
  readonly model: string | null;
  readonly createdSeconds: number | null;
  readonly choices: readonly Choice[];
  readonly usage: Usage | null;
}

/** A failure that a provider reports inside a stream. */
export interface StreamFailure {
  /** HTTP status it stands for, when that is known. */
  readonly status: number | null;
  /** The provider's own word for it, such as `overloaded_error`. */
  readonly type: string | null;
  readonly message: string;
}

/** Events of a stream. `choice` counts answers from 0; `call` counts the calls of the whole stream from 0. */
export type NeutralEvent =
  | {
      readonly kind: 'start';
      readonly id: string | null;
      readonly model: string | null;
      readonly createdSeconds: number | null;
    }
  | { readonly kind: 'text' | 'thinking' | 'refusal'; readonly choice: number; readonly text: string }
  | { readonly kind: 'signature'; readonly choice: number; readonly signature: Signature }
  | {
      readonly kind: 'call';
      readonly choice: number;
      readonly call: number;
      readonly id: string;
      readonly name: string;
      readonly custom: boolean;
      readonly signature: Signature | null;
    }
  | { readonly kind: 'arguments'; readonly call: number; readonly text: string }
  | { readonly kind: 'call-end'; readonly call: number }
  /** The source closed what it wrote last: what follows is a new block. */
  | { readonly kind: 'block-end'; readonly choice: number }
  | { readonly kind: 'usage'; readonly usage: Usage }
  | { readonly kind: 'stop'; readonly choice: number; readonly stop: Stop }
  | { readonly kind: 'failure'; readonly failure: StreamFailure }
  | { readonly kind: 'end' };
