import type { Route } from '@holdfast/contract';
import type { z } from 'zod';
import type { ByteStream } from './byte-stream.ts';
import type { Channel } from './channel.ts';
import type { EventStream } from './event-stream.ts';

/** What a raw body may be: text is sent as UTF-8, an async iterable is streamed without being held in memory. */
export type BytesBody = string | Uint8Array | AsyncIterable<Uint8Array>;

export interface CallOptions {
  /** Aborting it ends the call, and the stream that came of it; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Sent on top of the client's own headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

type OptionalKeys<T> = { [K in keyof T]-?: Record<never, never> extends Pick<T, K> ? K : never }[keyof T];

/**
 * Path and query values as the caller has them. Zod's input of a coerced value is `unknown` and that of a flag is text,
 * so the types are those of the output, and only which keys may be left out comes from the input.
 */
type Values<O extends z.ZodObject> = {
  [K in keyof z.input<O>]: K extends keyof z.output<O>
    ? z.output<O>[K] | (K extends OptionalKeys<z.input<O>> ? undefined : never)
    : never;
};

type Nothing = Record<never, never>;

type ParamsOf<R extends Route> = R extends { params: infer P extends z.ZodObject } ? { params: Values<P> } : Nothing;

type QueryOf<R extends Route> = R extends { query: infer Q extends z.ZodObject }
  ? Nothing extends Values<Q>
    ? { query?: Values<Q> }
    : { query: Values<Q> }
  : Nothing;

type BodyOf<R extends Route> = R extends { bodyKind: 'bytes' }
  ? { body: BytesBody }
  : R extends { body: infer B extends z.ZodType }
    ? Nothing extends z.input<B>
      ? { body?: z.input<B> }
      : { body: z.input<B> }
    : Nothing;

/** `{ params, query, body }` of a route, each only where the route has it, and optional where nothing in it is required. */
export type RouteArguments<R extends Route> = ParamsOf<R> & QueryOf<R> & BodyOf<R>;

type Document<R extends Route> = R extends { response: infer T extends z.ZodType } ? z.output<T> : unknown;

export type RouteResult<R extends Route> = R['answer'] extends 'empty'
  ? undefined
  : R['answer'] extends 'bytes'
    ? ByteStream
    : R['answer'] extends 'sse'
      ? EventStream<Document<R>>
      : R['answer'] extends 'websocket'
        ? Channel
        : Document<R>;

export type RouteMethod<R extends Route> =
  Nothing extends RouteArguments<R>
    ? (args?: RouteArguments<R>, options?: CallOptions) => Promise<RouteResult<R>>
    : (args: RouteArguments<R>, options?: CallOptions) => Promise<RouteResult<R>>;

export type RouteMethods<G extends Readonly<Record<string, Route>>> = {
  readonly [K in keyof G]: RouteMethod<G[K]>;
};
