import type { IncomingMessage } from 'node:http';
import { type Clock, type Log, newId, parseTraceparent, type SpanSink, type TraceContext } from '@holdfast/core';
import type { Identity } from '@holdfast/identity';
import type { ActiveRequests } from './active-requests.ts';
import type { Metrics } from './metrics.ts';

/** What every part of the HTTP server needs. */
export interface HttpContext {
  readonly identity: Identity;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly active: ActiveRequests;
  readonly spans: SpanSink;
}

/** The caller's own request id when it is harmless, or a new one. */
export const requestIdOf = (incoming: IncomingMessage, clock: Clock): string => {
  const given = incoming.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9_.-]{8,64}$/.test(given) ? given : newId('req', clock);
};

export const traceOf = (incoming: IncomingMessage): TraceContext | null => {
  const header = incoming.headers.traceparent;
  return typeof header === 'string' ? parseTraceparent(header) : null;
};
