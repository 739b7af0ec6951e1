import type { z } from 'zod';

/** Who may call a route: `viewer` reads, `developer` changes, `owner` administers; `public` needs no key. */
export type RouteRole = 'public' | 'viewer' | 'developer' | 'owner';

/**
 * How the answer travels. `json` is one document; `sse` is `text/event-stream` whose `data` lines are `response` documents;
 * `bytes` is an octet stream; `websocket` is an upgrade; `empty` is 204.
 */
export type RouteAnswer = 'json' | 'sse' | 'bytes' | 'websocket' | 'empty';

/** How the body travels: `bytes` is a raw octet stream that the handler reads itself. */
export type RouteBody = 'none' | 'json' | 'bytes';

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Template such as `/api/sandboxes/{id}`. */
  readonly path: string;
  readonly role: RouteRole;
  readonly summary: string;
  readonly answer: RouteAnswer;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly bodyKind?: RouteBody;
  readonly body?: z.ZodType;
  readonly response?: z.ZodType;
  /** Success status; 200 unless told. */
  readonly status?: number;
  /** Longest JSON body in bytes; 1 MiB unless told. */
  readonly maxBodyBytes?: number;
}

/** Keeps the literal types of one group of routes. */
export const routes = <const T extends Record<string, Route>>(group: T): T => group;
