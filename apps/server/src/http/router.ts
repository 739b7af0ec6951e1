import type { Route } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type DoorFamily, errorReply } from '@holdfast/gateway';
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { traced } from '../trace-scope.ts';
import { abortOnClose } from './active-requests.ts';
import type { Bound } from './bind.ts';
import { type HttpContext, requestIdOf, traceOf } from './context.ts';
import type { HttpExchange } from './exchange.ts';
import { asHoldfastError, problemResponse } from './failure.ts';
import { admit, keyOf } from './gate.ts';
import { recordSpan } from './request-span.ts';

type Environment = { Bindings: HttpBindings };
type HttpBound = Extract<Bound, { kind: 'http' }>;

/**
 * `/api/sandboxes/{id}` → `/api/sandboxes/:id`; a parameter that a suffix follows, as in `/models/{model}:embedContent`,
 * may have slashes in it and comes with its suffix.
 */
const patternOf = (path: string): string =>
  path.replace(/\{(\w+)\}(:\w+)?/g, (_, name: string, suffix?: string) =>
    suffix === undefined ? `:${name}` : `:${name}{.+${suffix}}`,
  );

/** Parameters without the suffixes that follow them in the path. */
const paramsOf = (path: string, params: Readonly<Record<string, string>>): Record<string, string> => {
  const plain = { ...params };
  for (const [, name = '', suffix = ''] of path.matchAll(/\{(\w+)\}(:\w+)/g))
    plain[name] = (plain[name] ?? '').slice(0, -suffix.length);
  return plain;
};

const familyOf = (path: string): DoorFamily | null => {
  if (path.startsWith('/v1beta/') || /^\/v1\/models\/.*:/.test(path)) return 'gemini';
  if (path.startsWith('/v1/messages')) return 'anthropic';
  return path.startsWith('/v1/') ? 'openai' : null;
};

/** Clients of model APIs understand the errors of those APIs only. */
const render = (path: string, error: HoldfastError, requestId: string): Response => {
  const family = familyOf(path);
  if (family === null) return problemResponse(error, requestId);
  const { status, headers, body } = errorReply(family, error, requestId);
  return new Response(body, { status, headers });
};

const report = (http: HttpContext, error: HoldfastError, facts: Readonly<Record<string, unknown>>): void => {
  if (error.code === 'internal.unexpected')
    http.log.error('a request failed', { ...facts, error: error.cause ?? error });
  else if (error.kind.status >= 500) http.log.warn('a request failed', { ...facts, error });
};

const exchangeOf = async (
  http: HttpContext,
  c: Context<Environment>,
  route: Route,
  requestId: string,
  signal: AbortSignal,
): Promise<HttpExchange> => {
  const { incoming, outgoing } = c.env;
  if (route.role === 'public') throw new TypeError('public routes are not bound here');
  const principal = await admit(http.identity, keyOf(incoming), route.role);
  const params = paramsOf(route.path, c.req.param());
  const query = c.req.query();
  for (const text of [...Object.values(params), ...Object.values(query)])
    if (text.includes('\0')) throw new HoldfastError('request.invalid', 'The address contains a NUL.');
  return {
    ...{ requestId, principal, incoming, outgoing, params, query, signal },
    trace: traceOf(incoming),
    log: http.log,
  };
};

/** Runs one request: gate, handler, error, and what is counted, traced and logged of it. */
const serve = async (http: HttpContext, c: Context<Environment>, name: string, bound: HttpBound): Promise<Response> => {
  const { incoming, outgoing } = c.env;
  const { route } = bound;
  const startMs = http.clock.now();
  const start = http.clock.monotonic();
  const requestId = requestIdOf(incoming, http.clock);
  const { controller, end } = http.active.begin();
  http.metrics.begin();
  abortOnClose(outgoing, controller);
  let exchange: HttpExchange | null = null;
  let error: HoldfastError | null = null;
  let spanId = '';
  outgoing.once('close', () => {
    end();
    const status = outgoing.writableFinished ? outgoing.statusCode : 499;
    const ms = http.clock.monotonic() - start;
    http.metrics.end(route.method, route.path, status, ms);
    http.log.debug('request', { requestId, route: name, status, ms, keyId: exchange?.principal.keyId });
  });
  try {
    exchange = await exchangeOf(http, c, route, requestId, controller.signal);
    const admitted = exchange;
    return await traced(admitted.trace, (id) => {
      spanId = id;
      return bound.run(admitted);
    });
  } catch (thrown) {
    error = asHoldfastError(thrown);
    report(http, error, { requestId, route: name });
    return render(route.path, error, requestId);
  } finally {
    if (exchange !== null) recordSpan(http.spans, http.clock, { spanId, name, route, exchange, startMs, error });
  }
};

/** Methods that a path takes, for the answer to one that it does not. */
const methodsOf = (bounds: readonly Bound[]) => {
  const table = bounds.map(({ route }) => ({
    method: route.method,
    pattern: new RegExp(
      `^${route.path
        .replace(/[.]/g, '\\.')
        .replace(/\{\w+\}(?=:)/g, '.+')
        .replace(/\{\w+\}/g, '[^/]+')}$`,
    ),
  }));
  return (path: string): string[] => [...new Set(table.filter((t) => t.pattern.test(path)).map((t) => t.method))];
};

const missing = (path: string, method: string, methods: readonly string[]): HoldfastError =>
  methods.length === 0
    ? new HoldfastError('request.not_found', undefined, { path: path.slice(0, 256) })
    : new HoldfastError('request.method_not_allowed', `${method} is not possible here.`, { allowed: methods });

/** The Hono app of all routes that are answered over HTTP. */
export const buildRouter = (http: HttpContext, bounds: Readonly<Record<string, Bound>>): Hono<Environment> => {
  const app = new Hono<Environment>();
  const allowed = methodsOf(Object.values(bounds));
  for (const [name, bound] of Object.entries(bounds)) {
    if (bound.kind === 'http')
      app.on(bound.route.method, patternOf(bound.route.path), (c) => serve(http, c, name, bound));
    else
      app.on(bound.route.method, patternOf(bound.route.path), (c) =>
        problemResponse(
          new HoldfastError('request.upgrade_required', undefined, { route: name }),
          requestIdOf(c.env.incoming, http.clock),
          { connection: 'upgrade', upgrade: 'websocket' },
        ),
      );
  }
  app.notFound((c) => {
    const methods = allowed(c.req.path);
    const error = missing(c.req.path, c.req.method, methods);
    const requestId = requestIdOf(c.env.incoming, http.clock);
    const answer = render(c.req.path, error, requestId);
    if (methods.length > 0) answer.headers.set('allow', methods.join(', '));
    return answer;
  });
  app.onError((thrown, c) => {
    const error = asHoldfastError(thrown);
    const requestId = requestIdOf(c.env.incoming, http.clock);
    report(http, error, { requestId });
    return render(c.req.path, error, requestId);
  });
  return app;
};
