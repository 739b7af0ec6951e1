import type { Route } from '@holdfast/contract';
import { type Clock, defaultBodyBytes } from '@holdfast/core';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { z } from 'zod';
import type { Exchange, HttpExchange } from './exchange.ts';
import { invalidRequest } from './failure.ts';
import type { MessageSocket } from './message-socket.ts';
import { ByteSink, EventSink } from './outgoing-stream.ts';
import { readJson, streamBody } from './request-body.ts';

type Schema = z.ZodType;

/** A route whose schemas the compiler knows. */
type Typed<P extends Schema, Q extends Schema, B extends Schema, T extends Schema> = Route & {
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  readonly response?: T;
};

/** What a handler gets: the exchange, and its parts validated by the schemas of the route. */
export interface Call<P extends Schema, Q extends Schema, B extends Schema> extends Omit<Exchange, 'params' | 'query'> {
  readonly params: z.output<P>;
  readonly query: z.output<Q>;
  readonly body: z.output<B>;
  /** The raw body of a route whose body is bytes. */
  readonly upload: () => AsyncIterable<Uint8Array>;
}

/** A route with its handler. */
export type Bound =
  | { readonly route: Route; readonly kind: 'http'; readonly run: (exchange: HttpExchange) => Promise<Response> }
  | {
      readonly route: Route;
      readonly kind: 'socket';
      /** Runs until the connection is over; `accept` answers the upgrade, until then an error is an HTTP answer. */
      readonly run: (exchange: Exchange, accept: () => Promise<MessageSocket>) => Promise<void>;
    };

const parsePart = <S extends Schema>(schema: S | undefined, value: unknown, part: string): z.output<S> | undefined => {
  if (schema === undefined) return undefined;
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw invalidRequest(part, parsed.error);
  return parsed.data;
};

/** For a handler that asks for a part that its route does not have, which is a mistake of ours. */
const present = <T>(value: T | undefined, part: string): T => {
  if (value === undefined) throw new TypeError(`this route has no ${part}`);
  return value;
};

const callOf = <P extends Schema, Q extends Schema, B extends Schema>(
  route: Typed<P, Q, B, Schema>,
  exchange: Exchange,
  json: unknown,
): Call<P, Q, B> => {
  const params = parsePart(route.params, exchange.params, 'path');
  const query = parsePart(route.query, exchange.query, 'query');
  const body = parsePart(route.body, json, 'body');
  const { requestId, principal, incoming, signal, trace, log } = exchange;
  return {
    ...{ requestId, principal, incoming, signal, trace, log },
    get params() {
      return present(params, 'parameters');
    },
    get query() {
      return present(query, 'query');
    },
    get body() {
      return present(body, 'body');
    },
    upload: () => streamBody(incoming),
  };
};

const bodyOf = (route: Route, exchange: Exchange): Promise<unknown> =>
  route.body === undefined || route.bodyKind === 'bytes'
    ? Promise.resolve(undefined)
    : readJson(exchange.incoming, route.maxBodyBytes ?? defaultBodyBytes);

const jsonHeaders = { 'content-type': 'application/json', 'cache-control': 'no-store' };

/** A route that answers one document. */
export const bindJson = <P extends Schema, Q extends Schema, B extends Schema, T extends Schema>(
  route: Typed<P, Q, B, T>,
  handle: (call: Call<P, Q, B>) => Promise<z.input<T>>,
): Bound => ({
  route,
  kind: 'http',
  run: async (exchange) => {
    const document = await handle(callOf(route, exchange, await bodyOf(route, exchange)));
    return new Response(JSON.stringify(document), {
      status: route.status ?? 200,
      headers: { ...jsonHeaders, 'x-request-id': exchange.requestId },
    });
  },
});

/** A route that answers nothing. */
export const bindEmpty = <P extends Schema, Q extends Schema, B extends Schema>(
  route: Typed<P, Q, B, Schema>,
  handle: (call: Call<P, Q, B>) => Promise<void>,
): Bound => ({
  route,
  kind: 'http',
  run: async (exchange) => {
    await handle(callOf(route, exchange, await bodyOf(route, exchange)));
    return new Response(null, { status: route.status ?? 204, headers: { 'x-request-id': exchange.requestId } });
  },
});

/** A route that answers bytes as they come. */
export const bindBytes = <P extends Schema, Q extends Schema, B extends Schema>(
  route: Typed<P, Q, B, Schema>,
  handle: (call: Call<P, Q, B>, out: ByteSink) => Promise<void>,
): Bound => ({
  route,
  kind: 'http',
  run: async (exchange) => {
    const call = callOf(route, exchange, await bodyOf(route, exchange));
    const out = new ByteSink(exchange.outgoing, exchange.signal, exchange.requestId);
    try {
      await handle(call, out);
      out.end();
    } catch (error) {
      if (!out.begun) throw error;
      if (!exchange.signal.aborted) exchange.log.warn('a stream of bytes broke off', { error });
      out.fail();
    }
    return RESPONSE_ALREADY_SENT;
  },
});

const pingMs = 15_000;

/** A route that answers server-sent events. */
export const bindEvents = <P extends Schema, Q extends Schema, B extends Schema, T extends Schema>(
  route: Typed<P, Q, B, T>,
  clock: Clock,
  handle: (call: Call<P, Q, B>, out: EventSink<z.input<T>>) => Promise<void>,
): Bound => ({
  route,
  kind: 'http',
  run: async (exchange) => {
    const call = callOf(route, exchange, await bodyOf(route, exchange));
    const out = new EventSink<z.input<T>>(exchange.outgoing, exchange.signal, exchange.requestId);
    const ping = (): void => {
      out.ping();
      cancel = clock.after(pingMs, ping);
    };
    let cancel = clock.after(pingMs, ping);
    try {
      await handle(call, out);
      out.end();
    } catch (error) {
      if (!out.begun) throw error;
      out.fail(error);
    } finally {
      cancel();
    }
    return RESPONSE_ALREADY_SENT;
  },
});

/** A route that becomes a WebSocket. */
export const bindSocket = <P extends Schema, Q extends Schema>(
  route: Typed<P, Q, Schema, Schema>,
  handle: (call: Call<P, Q, Schema>, accept: () => Promise<MessageSocket>) => Promise<void>,
): Bound => ({
  route,
  kind: 'socket',
  run: async (exchange, accept) => handle(callOf(route, exchange, undefined), accept),
});

/** A route whose handler reads the request and writes the whole answer by itself. */
export const bindRaw = (route: Route, handle: (exchange: HttpExchange) => Promise<void>): Bound => ({
  route,
  kind: 'http',
  run: async (exchange) => {
    await handle(exchange);
    return RESPONSE_ALREADY_SENT;
  },
});
