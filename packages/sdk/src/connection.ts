import type { Route } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { z } from 'zod';
import { ByteStream } from './byte-stream.ts';
import { EventStream, parseEvents } from './event-stream.ts';
import { errorOfAnswer, errorOfExchange, errorOfText, readText } from './failure.ts';
import type { BytesBody, CallOptions } from './route-call.ts';
import { fetchTransport, type Transport, type WireAnswer, type WireRequest } from './transport.ts';

/** Longest JSON answer. */
const maxDocumentBytes = 134_217_728;

export interface Connection {
  readonly baseUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly transport: () => Promise<Transport>;
}

export interface SendArguments {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

export const connectionOf = (options: {
  readonly url: string;
  readonly apiKey: string | null;
  readonly fetch?: (request: Request) => Promise<Response>;
  readonly headers?: Readonly<Record<string, string>>;
}): Connection => {
  const { fetch } = options;
  return {
    baseUrl: options.url.replace(/\/+$/, ''),
    headers: {
      ...(options.apiKey === null ? {} : { authorization: `Bearer ${options.apiKey}` }),
      ...options.headers,
    },
    // Loaded when first used, so that what only needs `fetch` never loads Node's modules.
    transport: async () =>
      fetch === undefined ? (await import('./node-transport.ts')).nodeTransport : fetchTransport(fetch),
  };
};

const invalid = (field: string, message: string) => new HoldfastError('request.invalid', message, { field });

const scalar = (name: string, value: unknown): string => {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw invalid(name, `${name} must be text, a number or a truth value.`);
};

const segment = (name: string, value: unknown): string => {
  const text = scalar(name, value);
  // URL parsers fold dot segments away, even encoded ones: the request would reach another route.
  if (text === '' || text === '.' || text === '..') throw invalid(name, `"${text}" is not a valid ${name}.`);
  return encodeURIComponent(text);
};

/** The address of a call: path parameters filled in and encoded, query values that are undefined left out. */
export const addressOf = (baseUrl: string, route: Route, args: SendArguments): string => {
  const path = route.path.replace(/\{(\w+)\}/g, (_, name: string) => segment(name, args.params?.[name]));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(args.query ?? {})) {
    if (value === undefined) continue;
    // A list is one value, its items separated by commas, as the contract reads it.
    const items = Array.isArray(value) ? value : [value];
    query.append(name, items.map((item) => scalar(name, item)).join(','));
  }
  const text = query.toString();
  return `${baseUrl}${path}${text === '' ? '' : `?${text}`}`;
};

const isBytesBody = (body: unknown): body is BytesBody =>
  typeof body === 'string' ||
  body instanceof Uint8Array ||
  (typeof body === 'object' && body !== null && Symbol.asyncIterator in body);

const bodyOf = (route: Route, body: unknown): { type: string; body: BytesBody } | null => {
  if (route.bodyKind === 'bytes') {
    if (!isBytesBody(body)) throw invalid('body', 'The body must be text, bytes or an async iterable of bytes.');
    return { type: 'application/octet-stream', body };
  }
  // A body whose fields all have defaults may be left out, but the route still expects a document.
  if (route.body !== undefined) return { type: 'application/json', body: JSON.stringify(body ?? {}) };
  return null;
};

const accept = { json: 'application/json', sse: 'text/event-stream', bytes: '*/*', empty: '*/*', websocket: '*/*' };

const parse = (schema: z.ZodType | undefined, text: string, route: Route): unknown => {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    const start = { start: text.slice(0, 200) };
    throw new HoldfastError('server.answer_invalid', `${route.path} did not answer JSON.`, start, { cause });
  }
  if (schema === undefined) return document;
  const parsed = schema.safeParse(document);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, 8).map((i) => ({ path: i.path.join('.'), message: i.message }));
  throw new HoldfastError(
    'server.answer_invalid',
    `The answer of ${route.method} ${route.path} is not what this version expects; server and client may differ.`,
    { issues },
  );
};

/** Reads a body so that a connection that breaks half-way has the same error as one that never opened. */
async function* guarded(
  body: AsyncIterable<Uint8Array> | null,
  url: string,
  signal: AbortSignal | null,
): AsyncGenerator<Uint8Array> {
  try {
    if (body !== null) yield* body;
  } catch (cause) {
    throw errorOfExchange(cause, url, signal);
  }
}

async function* documents(body: AsyncIterable<Uint8Array>, route: Route, stop: AbortSignal): AsyncGenerator<unknown> {
  try {
    for await (const { event, data } of parseEvents(body)) {
      // An error after the headers were sent can only travel in the stream.
      if (event === 'error') throw errorOfText(500, data);
      yield parse(route.response, data, route);
    }
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}

const exchange = async (connection: Connection, wire: WireRequest): Promise<WireAnswer> => {
  const transport = await connection.transport();
  let answer: WireAnswer;
  try {
    answer = await transport(wire);
  } catch (cause) {
    throw errorOfExchange(cause, wire.url, wire.signal);
  }
  if (answer.status >= 200 && answer.status < 300) return answer;
  try {
    throw await errorOfAnswer(answer);
  } catch (cause) {
    throw errorOfExchange(cause, wire.url, wire.signal);
  }
};

const openSocket = async (connection: Connection, url: string, options: CallOptions) => {
  const { openChannel } = await import('./channel.ts');
  const headers = { ...connection.headers, ...options.headers };
  return openChannel({ url: url.replace(/^http/, 'ws'), headers, signal: options.signal ?? null });
};

/** Makes one call of a route and gives its answer in the form that `route.answer` names. */
export const send = async (
  connection: Connection,
  route: Route,
  args: SendArguments,
  options: CallOptions,
): Promise<unknown> => {
  const url = addressOf(connection.baseUrl, route, args);
  if (route.answer === 'websocket') return openSocket(connection, url, options);
  const content = bodyOf(route, args.body);
  const stop = new AbortController();
  const given = options.signal ?? null;
  const signal = route.answer !== 'sse' ? given : given === null ? stop.signal : AbortSignal.any([stop.signal, given]);
  const answer = await exchange(connection, {
    url,
    method: route.method,
    headers: {
      accept: accept[route.answer],
      ...(content === null ? {} : { 'content-type': content.type }),
      ...connection.headers,
      ...options.headers,
    },
    body: content?.body ?? null,
    signal,
  });
  const body = guarded(answer.body, url, signal);
  if (route.answer === 'bytes') return new ByteStream(body, answer.headers);
  if (route.answer === 'sse') return new EventStream(documents(body, route, stop.signal), () => stop.abort());
  const text = await readText(body, maxDocumentBytes);
  return route.answer === 'empty' ? undefined : parse(route.response, text, route);
};
