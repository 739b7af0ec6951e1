import { allRoutes, openApiOf } from '@holdfast/contract';
import type { Clock } from '@holdfast/core';
import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import { type HttpContext, requestIdOf } from './http/context.ts';
import { asHoldfastError, problemResponse } from './http/failure.ts';
import { admit, keyOf } from './http/gate.ts';
import type { Gauges } from './http/metrics.ts';

export interface Operations {
  readonly version: string;
  /** Rejects when the server cannot do its work. */
  readonly ready: () => Promise<void>;
  readonly gauges: Gauges;
  /** More lines of metrics: what the layers count, with names only of the workspace that asks. */
  readonly counters: (workspaceId: string) => readonly string[];
}

const readyMs = 2_000;

const within = async (clock: Clock, ms: number, work: Promise<void>): Promise<boolean> => {
  let cancel = (): void => undefined;
  const late = new Promise<boolean>((resolve) => {
    cancel = clock.after(ms, () => resolve(false));
  });
  const done = work.then(
    () => true,
    () => false,
  );
  return Promise.race([done, late]).finally(() => cancel());
};

/** What operators and tools ask for. Health, readiness and the API's description need no key; metrics do. */
export const addOperations = (
  app: Hono<{ Bindings: HttpBindings }>,
  http: HttpContext,
  operations: Operations,
): void => {
  const openApi = JSON.stringify(openApiOf(allRoutes, operations.version));
  app.get('/healthz', (c) => c.json({ status: 'ok', version: operations.version }));
  app.get('/readyz', async (c) => {
    const ready = await within(http.clock, readyMs, operations.ready());
    return ready ? c.json({ status: 'ready' }) : c.json({ status: 'not ready' }, 503);
  });
  app.get('/api/openapi.json', (c) => c.body(openApi, 200, { 'content-type': 'application/json' }));
  app.get('/metrics', async (c) => {
    try {
      const { workspaceId } = await admit(http.identity, keyOf(c.env.incoming), 'viewer');
      const own = await http.metrics.render(operations.gauges);
      const layers = operations.counters(workspaceId).map((line) => `${line}\n`);
      return c.text(own + layers.join(''), 200, { 'content-type': 'text/plain; version=0.0.4' });
    } catch (thrown) {
      return problemResponse(asHoldfastError(thrown), requestIdOf(c.env.incoming, http.clock));
    }
  });
};
