import { Agent, type Dispatcher } from 'undici';
import type { AnswerBody, ChunkTaker, ProviderAnswer } from './provider.ts';

/** Bytes of an answer that may wait unread before the provider is held back. */
const maxUnreadBytes = 262_144;

export interface HttpCall {
  /** Such as `https://api.openai.com`. */
  readonly origin: string;
  /** With its query. */
  readonly path: string;
  readonly method: 'POST' | 'GET';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | null;
}

interface Flow {
  readonly take: ChunkTaker;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

const flat = (headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> => {
  const result: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined) result[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return result;
};

/**
 * One request under way. It is undici's own handler instead of `request()`, whose streams cost as much as the rest of
 * the gateway: chunks are handed over as they come, and the connection is paused while too many wait.
 */
class HttpExchange implements Dispatcher.DispatchHandler, AnswerBody {
  readonly #head: Waiter<ProviderAnswer>;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #controller: Dispatcher.DispatchController | null = null;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #reader: Waiter<Uint8Array | null> | null = null;
  #flow: Flow | null = null;
  /** The taker has no room at the moment. */
  #isHeld = false;
  #ended = false;
  #failed = false;
  #error: unknown = null;

  constructor(head: Waiter<ProviderAnswer>, signal: AbortSignal) {
    this.#head = head;
    this.#signal = signal;
    this.#onAbort = () => {
      this.#fail(signal.reason);
      this.#controller?.abort(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#signal.aborted) this.#onAbort();
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    // An informational head comes before the real one.
    if (statusCode < 200) return;
    this.#head.resolve({ status: statusCode, headers: flat(headers), body: this });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      reader.resolve(chunk);
      return;
    }
    if (this.#flow !== null && !this.#isHeld && this.#unread.length === 0) {
      this.#give(this.#flow, chunk);
      return;
    }
    this.#unread.push(chunk);
    this.#unreadBytes += chunk.length;
    if (this.#unreadBytes > maxUnreadBytes) controller.pause();
  }

  onResponseEnd(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#ended = true;
    this.#reader?.resolve(null);
    this.#reader = null;
    this.#pump();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#fail(this.#signal.aborted ? this.#signal.reason : error);
  }

  read(): Promise<Uint8Array | null> {
    const chunk = this.#unread.shift();
    if (chunk !== undefined) {
      this.#unreadBytes -= chunk.length;
      if (this.#controller?.paused === true && this.#unreadBytes <= maxUnreadBytes) this.#controller.resume();
      return Promise.resolve(chunk);
    }
    if (this.#failed) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  flow(take: ChunkTaker): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#flow = { take, resolve, reject };
      this.#pump();
    });
  }

  /** Hands over what waits while there is room for it, and asks for more. */
  #pump(): void {
    for (let flow = this.#flow; flow !== null && !this.#isHeld; flow = this.#flow) {
      const chunk = this.#unread.shift();
      if (chunk !== undefined) {
        this.#unreadBytes -= chunk.length;
        this.#give(flow, chunk);
        continue;
      }
      if (this.#failed || this.#ended) {
        this.#flow = null;
        if (this.#failed) flow.reject(this.#error);
        else flow.resolve();
      } else if (this.#controller?.paused === true) this.#controller.resume();
      return;
    }
  }

  #give(flow: Flow, chunk: Uint8Array): void {
    try {
      const answer = flow.take(chunk);
      if (answer === null) return;
      if (answer === 'enough') {
        this.#flow = null;
        flow.resolve();
        return;
      }
      this.#isHeld = true;
      answer.then(
        () => {
          this.#isHeld = false;
          this.#pump();
        },
        (error: unknown) => this.#giveUp(flow, error),
      );
    } catch (error) {
      this.#giveUp(flow, error);
    }
  }

  #giveUp(flow: Flow, error: unknown): void {
    this.#flow = null;
    flow.reject(error);
  }

  #fail(error: unknown): void {
    if (this.#failed || this.#ended) return;
    this.#failed = true;
    this.#error = error;
    this.#signal.removeEventListener('abort', this.#onAbort);
    // Nothing that waited is of use to a caller of an aborted call, and its memory is wanted back.
    if (this.#signal.aborted) this.#unread = [];
    this.#head.reject(error);
    this.#reader?.reject(error);
    this.#reader = null;
    this.#flow?.reject(error);
    this.#flow = null;
  }
}

export interface HttpClientOptions {
  /** Connections to one origin. */
  readonly maxConnections?: number;
  readonly connectTimeoutMs?: number;
}

/** The connections to all providers, kept alive between calls. Redirects are not followed: nobody configured where to. */
export class HttpClient {
  readonly #agent: Agent;

  constructor({ maxConnections = 1_024, connectTimeoutMs = 10_000 }: HttpClientOptions = {}) {
    this.#agent = new Agent({
      connections: maxConnections,
      pipelining: 1,
      // Attempts have time-outs of their own, which know the provider.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 30_000,
      keepAliveMaxTimeout: 300_000,
      connect: { timeout: connectTimeoutMs },
      allowH2: false,
    });
  }

  /** Resolves with the head. Rejects with the signal's reason once aborted, else with what the connection died of. */
  send(call: HttpCall, signal: AbortSignal): Promise<ProviderAnswer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const { origin, path, method, headers, body } = call;
      this.#agent.dispatch({ origin, path, method, headers, body }, new HttpExchange({ resolve, reject }, signal));
    });
  }

  /** Waits for what is under way, then closes all connections. */
  close(): Promise<void> {
    return this.#agent.close();
  }
}
