import { allRoutes, type Route } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type Connection, connectionOf, send } from './connection.ts';
import type { CallOptions, RouteMethods } from './route-call.ts';
import { Sandbox } from './sandbox.ts';

export interface ClientOptions {
  /** Base address of the server, such as `http://localhost:7070`. */
  readonly url: string;
  /** `hf_…`; null for the routes that need none. */
  readonly apiKey: string | null;
  /** Sends every HTTP request instead of the built-in transport; WebSockets are always opened directly. */
  readonly fetch?: (request: Request) => Promise<Response>;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** One method for each route of the contract, named as there: `client.exec({ params: { id }, body: { shell: 'ls' } })`. */
export type Client = RouteMethods<typeof allRoutes> & {
  readonly url: string;
  /** The convenient way to one sandbox; nothing is sent until its first method is called. */
  sandbox(idOrName: string): Sandbox;
  /** The same client with more headers, such as a `traceparent` that spans of its calls hang from. */
  with(headers: Readonly<Record<string, string>>): Client;
};

const methodsOf = (group: Readonly<Record<string, Route>>, connection: Connection) =>
  Object.fromEntries(
    Object.entries(group).map(([name, route]) => [
      name,
      (args?: Parameters<typeof send>[2], options?: CallOptions) => send(connection, route, args ?? {}, options ?? {}),
    ]),
  );

/** Methods for any group of routes, typed by it. Errors are `HoldfastError`s with the server's code. */
export function createRouteMethods<const G extends Readonly<Record<string, Route>>>(
  group: G,
  options: ClientOptions,
): RouteMethods<G>;
// A loop over data can't show the compiler that each name got the method of its own route; the overload states it once.
export function createRouteMethods(
  group: Readonly<Record<string, Route>>,
  options: ClientOptions,
): ReturnType<typeof methodsOf> {
  return methodsOf(group, connectionOf(options));
}

/**
 * The client of a Holdfast server. Throws `HoldfastError`: the server's own code; `server.unreachable` when nothing
 * listens or the connection breaks; `server.answer_invalid` when the answer is not what the contract says.
 */
export const createClient = (options: ClientOptions): Client => {
  if (!URL.canParse(options.url)) {
    throw new HoldfastError('request.invalid', `"${options.url.slice(0, 200)}" is not a URL.`, { field: 'url' });
  }
  const client: Client = {
    ...createRouteMethods(allRoutes, options),
    url: options.url,
    sandbox: (idOrName) => new Sandbox(client, idOrName),
    with: (headers) => createClient({ ...options, headers: { ...options.headers, ...headers } }),
  };
  return client;
};
