import type { ChatRequest } from './chat-request.ts';

/** One call as a provider gets it. */
export interface UpstreamCall {
  readonly request: ChatRequest;
  /** The model under the provider's own name. */
  readonly model: string;
  /** Headers of the caller that providers may see. */
  readonly headers: Headers;
}

/** A configured provider: something that answers chat completions in OpenAI's wire format. */
export interface Upstream {
  readonly name: string;
  /** Replays recordings instead of asking a model. */
  readonly recorded: boolean;
  /** Longest silence in milliseconds. */
  readonly timeoutMs: number;
  /** Models it is known to serve; null when it takes any name. */
  readonly models: readonly string[] | null;
  /** Resolves with the answer's head; its body follows as it comes. Rejects with the signal's reason once aborted. */
  chat(call: UpstreamCall, signal: AbortSignal): Promise<Response>;
}
