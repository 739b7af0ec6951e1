import type { IncomingMessage } from 'node:http';
import { allRoutes, problem, type Route, type RouteName } from '@holdfast/contract';
import { WebSocket } from 'ws';
import { z } from 'zod';

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** The stable code of an error, in problem details or the envelope of a door; null for anything else. */
  readonly code: string | null;
  readonly headers: Headers;
}

const openAiEnvelope = z.object({ error: z.object({ code: z.string() }) }).transform((b) => b.error.code);
const anthropicEnvelope = z
  .object({ error: z.object({ details: z.object({ error_code: z.string() }) }) })
  .transform((b) => b.error.details.error_code);
const geminiEnvelope = z
  .object({ error: z.object({ details: z.tuple([z.object({ reason: z.string() })]) }) })
  .transform((b) => b.error.details[0].reason);
const envelope = z.union([problem.transform((p) => p.code), openAiEnvelope, anthropicEnvelope, geminiEnvelope]);

const codeOf = (text: string): string | null => {
  try {
    return envelope.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
};

export interface CallInput {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export const addressOf = (url: string, route: Route, input: CallInput): string => {
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(input.params?.[name] ?? ''));
  const query = new URLSearchParams(input.query).toString();
  return `${url}${path}${query === '' ? '' : `?${query}`}`;
};

const text = async (message: IncomingMessage): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of message) if (part instanceof Uint8Array) parts.push(part);
  return Buffer.concat(parts).toString();
};

/** Tries an upgrade; one that succeeds is status 101. */
const upgrade = (address: string, key: string | null): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = key === null ? {} : { authorization: `Bearer ${key}` };
    const socket = new WebSocket(address.replace(/^http/, 'ws'), { headers, handshakeTimeout: 15_000 });
    socket.on('error', reject);
    socket.once('open', () => {
      socket.terminate();
      resolve({ status: 101, text: '', code: null, headers: new Headers() });
    });
    socket.once('unexpected-response', (request, message) => {
      text(message)
        .then((body) =>
          resolve({ status: message.statusCode ?? 0, text: body, code: codeOf(body), headers: new Headers() }),
        )
        .catch(reject)
        .finally(() => request.destroy());
    });
  });

/** Calls a route of the contract by its name, as any client would. */
export const call = async (
  url: string,
  key: string | null,
  name: RouteName,
  input: CallInput = {},
): Promise<Answer> => {
  const route: Route = allRoutes[name];
  const address = addressOf(url, route, input);
  if (route.answer === 'websocket') return upgrade(address, key);
  const hasBody = route.method !== 'GET' && route.method !== 'DELETE';
  const raw = route.bodyKind === 'bytes';
  const response = await fetch(address, {
    method: route.method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(hasBody ? { 'content-type': raw ? 'application/octet-stream' : 'application/json' } : {}),
    },
    ...(hasBody ? { body: raw && typeof input.body === 'string' ? input.body : JSON.stringify(input.body ?? {}) } : {}),
    signal: AbortSignal.timeout(60_000),
  });
  const body = await response.text();
  return { status: response.status, text: body, code: codeOf(body), headers: response.headers };
};
