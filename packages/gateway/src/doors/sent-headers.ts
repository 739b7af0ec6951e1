import type { IncomingHttpHeaders } from 'node:http';
import type { DoorFamily } from './endpoint.ts';

const shared = ['accept', 'user-agent', 'x-client-request-id', 'idempotency-key'] as const;
const ofFamily: Readonly<Record<DoorFamily, readonly string[]>> = {
  openai: ['openai-beta'],
  anthropic: ['anthropic-version', 'anthropic-beta'],
  gemini: ['x-goog-api-client'],
};

/** A call that comes back to a gateway it passed already carries this, so that a circle of gateways ends. */
export const hopsHeader = 'holdfast-hops';
export const maxHops = 4;

/** How many gateways the call has passed; 0 for one that comes from a caller. */
export const hopsOf = (headers: IncomingHttpHeaders): number => {
  const told = headers[hopsHeader];
  return typeof told === 'string' && /^\d{1,3}$/.test(told) ? Number(told) : 0;
};

/**
 * The caller's headers that a provider gets: never its key, cookies or address. Those of the door's own protocol go only
 * where that is spoken (`sameFormat`); what a body means in another format, its headers do not.
 */
export const sentHeaders = (
  headers: IncomingHttpHeaders,
  family: DoorFamily,
  sameFormat: boolean,
): Record<string, string> => {
  const sent: Record<string, string> = { [hopsHeader]: String(hopsOf(headers) + 1) };
  for (const name of shared) {
    const value = headers[name];
    if (typeof value === 'string') sent[name] = value;
  }
  if (!sameFormat) return sent;
  for (const name of ofFamily[family]) {
    const value = headers[name];
    if (typeof value === 'string') sent[name] = value;
  }
  // What the SDKs of OpenAI and Anthropic tell of themselves.
  for (const name in headers) {
    const value = headers[name];
    if (name.startsWith('x-stainless-') && typeof value === 'string') sent[name] = value;
  }
  return sent;
};

const received =
  /^(?:content-type|x-request-id|request-id|openai-model|openai-processing-ms|openai-version|x-ratelimit-[a-z-]+|anthropic-ratelimit-[a-z-]+)$/;

/** The provider's headers that callers get; encodings and lengths are no longer true, cookies are nobody's business. */
export const receivedHeaders = (headers: Readonly<Record<string, string>>): Record<string, string> => {
  const kept: Record<string, string> = {};
  for (const name in headers) {
    const value = headers[name];
    if (value !== undefined && received.test(name)) kept[name] = value;
  }
  return kept;
};
