import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { allRoutes, problemMediaType, problemOf, type Route } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import { type WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';

/**
 * A real HTTP server for this package's tests that knows the contract and nothing else: it finds the route, validates
 * what arrived with the route's own schemas, and lets the test answer.
 */
export interface ContractCall {
  readonly name: string;
  readonly route: Route;
  readonly params: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  /** The validated JSON body; null for other bodies, which `request` streams. */
  readonly body: unknown;
  readonly request: IncomingMessage;
}

export interface ContractHandlers {
  readonly answer?: (call: ContractCall, response: ServerResponse) => void | Promise<void>;
  readonly socket?: (call: ContractCall, socket: WebSocket) => void;
}

export interface ContractServer extends AsyncDisposable {
  readonly url: string;
  readonly calls: ContractCall[];
  readonly port: number;
}

const patternOf = (route: Route): RegExp =>
  new RegExp(`^${route.path.replaceAll('.', '\\.').replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`);

const table = Object.entries<Route>(allRoutes).map(([name, route]) => ({ name, route, pattern: patternOf(route) }));

/** All items of an async iterable. */
export const collect = async <T>(source: AsyncIterable<T>): Promise<T[]> => {
  const items: T[] = [];
  for await (const item of source) items.push(item);
  return items;
};

/** Text of a body, for routes with JSON and for tests that read a stream. */
export const textOf = async (request: IncomingMessage): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const chunk of request) if (chunk instanceof Uint8Array) parts.push(chunk);
  return Buffer.concat(parts).toString();
};

const check = (schema: z.ZodType | undefined, value: unknown, part: string): unknown => {
  if (schema === undefined) return value;
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new HoldfastError('request.invalid', `The ${part} is not valid.`, { issues: parsed.error.issues });
};

const record = z.record(z.string(), z.unknown());

const callOf = async (request: IncomingMessage): Promise<ContractCall> => {
  const url = new URL(request.url ?? '/', 'http://contract');
  for (const { name, route, pattern } of table) {
    const match = route.method === request.method ? pattern.exec(url.pathname) : null;
    if (match === null) continue;
    const params = Object.entries(match.groups ?? {}).map(([key, value]) => [key, decodeURIComponent(value)]);
    const hasDocument = route.body !== undefined && route.bodyKind !== 'bytes';
    return {
      name,
      route,
      request,
      params: record.parse(check(route.params, Object.fromEntries(params), 'path')),
      query: record.parse(check(route.query, Object.fromEntries(url.searchParams), 'query')),
      body: hasDocument ? check(route.body, JSON.parse(await textOf(request)), 'body') : null,
    };
  }
  throw new HoldfastError('request.not_found', `${request.method} ${url.pathname}`);
};

export const sendProblem = (response: ServerResponse, error: HoldfastError): void => {
  const text = JSON.stringify(problemOf(error, 'req_test'));
  response.writeHead(error.kind.status, { 'content-type': problemMediaType }).end(text);
};

const schemaNode = z.looseObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  const: z.unknown().optional(),
  enum: z.array(z.unknown()).optional(),
  anyOf: z.array(z.unknown()).optional(),
  oneOf: z.array(z.unknown()).optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  items: z.unknown().optional(),
});

const sample = (schema: unknown): unknown => {
  const node = schemaNode.parse(schema);
  if (node.const !== undefined) return node.const;
  if (node.enum !== undefined) return node.enum[0];
  const choices = node.anyOf ?? node.oneOf;
  if (choices !== undefined) return sample(choices[0]);
  const type = Array.isArray(node.type) ? node.type[0] : node.type;
  if (type === 'string') return 'text';
  if (type === 'number' || type === 'integer') return 1;
  if (type === 'boolean') return true;
  if (type === 'array') return [sample(node.items)];
  if (type !== 'object') return null;
  return Object.fromEntries(Object.entries(node.properties ?? {}).map(([key, value]) => [key, sample(value)]));
};

/** A document that the schema accepts, made from its own JSON Schema. */
export const sampleOf = (schema: z.ZodType): unknown => sample(z.toJSONSchema(schema, { io: 'output' }));

const refuseUpgrade = (socket: NodeJS.WritableStream, error: HoldfastError): void => {
  const text = JSON.stringify(problemOf(error, 'req_test'));
  const head = `HTTP/1.1 ${error.kind.status} Refused\r\ncontent-type: ${problemMediaType}\r\nconnection: close`;
  socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
};

const asError = (error: unknown): HoldfastError =>
  error instanceof HoldfastError ? error : new HoldfastError('internal.unexpected', String(error));

export const startContractServer = async ({ answer, socket }: ContractHandlers): Promise<ContractServer> => {
  const calls: ContractCall[] = [];
  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer((request, response) => {
    callOf(request)
      .then((call) => {
        calls.push(call);
        return answer?.(call, response);
      })
      .catch((error: unknown) => sendProblem(response, asError(error)));
  });
  server.on('upgrade', (request, stream, head) => {
    callOf(request)
      .then((call) => {
        calls.push(call);
        if (socket === undefined) throw new HoldfastError('auth.forbidden');
        sockets.handleUpgrade(request, stream, head, (connection) => socket(call, connection));
      })
      .catch((error: unknown) => refuseUpgrade(stream, asError(error)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    [Symbol.asyncDispose]: async () => {
      for (const connection of sockets.clients) connection.terminate();
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
};
