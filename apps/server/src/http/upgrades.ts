import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { problemMediaType } from '@holdfast/contract';
import { HoldfastError, maxMessageBytes, maxStreamsPerKey } from '@holdfast/core';
import { WebSocketServer } from 'ws';
import { traced } from '../trace-scope.ts';
import type { Bound } from './bind.ts';
import { type HttpContext, requestIdOf, traceOf } from './context.ts';
import type { Exchange } from './exchange.ts';
import { asHoldfastError, problemText } from './failure.ts';
import { admit, keyOf } from './gate.ts';
import { MessageSocket } from './message-socket.ts';
import { recordSpan } from './request-span.ts';

type SocketBound = Extract<Bound, { kind: 'socket' }>;

/** Answers an upgrade that is refused as the HTTP request that it still is. */
export const refuse = (socket: Duplex, error: HoldfastError, requestId: string): void => {
  const text = problemText(error, requestId);
  const { status } = error.kind;
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}`,
    `content-type: ${problemMediaType}`,
    `content-length: ${Buffer.byteLength(text)}`,
    `x-request-id: ${requestId}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
};

interface Entry {
  readonly name: string;
  readonly bound: SocketBound;
  readonly pattern: RegExp;
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new HoldfastError('request.invalid', 'The address is not well encoded.');
  }
};

/** Turns upgrade requests into WebSockets of the routes that are such. */
export class Upgrades {
  readonly #http: HttpContext;
  readonly #entries: Entry[] = [];
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: maxMessageBytes, perMessageDeflate: false });
  readonly #openPerKey = new Map<string, number>();

  constructor(http: HttpContext, bounds: Readonly<Record<string, Bound>>) {
    this.#http = http;
    for (const [name, bound] of Object.entries(bounds)) {
      if (bound.kind !== 'socket') continue;
      const text = bound.route.path.replace(/[.]/g, '\\.').replace(/\{(\w+)\}/g, '(?<$1>[^/]+)');
      this.#entries.push({ name, bound, pattern: new RegExp(`^${text}$`) });
    }
  }

  /** Owns the socket from here on. Never rejects. */
  async handle(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { clock, log, active, metrics } = this.#http;
    const requestId = requestIdOf(incoming, clock);
    const start = clock.monotonic();
    const startMs = clock.now();
    const { controller, end } = active.begin();
    const abort = (): void => controller.abort(new HoldfastError('request.aborted'));
    socket.once('close', abort);
    socket.on('error', abort);
    metrics.begin();
    let route = 'upgrade';
    let status = 101;
    let opened: MessageSocket | null = null;
    try {
      const { entry, exchange } = await this.#admit(incoming, requestId, controller.signal);
      route = entry.bound.route.path;
      const accept = async (): Promise<MessageSocket> => {
        opened = await this.#accept(incoming, socket, head);
        return opened;
      };
      await traced(exchange.trace, async (spanId) => {
        const error = await this.#run(entry, exchange, accept, () => opened);
        recordSpan(this.#http.spans, clock, {
          ...{ spanId, exchange, startMs, error },
          ...{ name: entry.name, route: entry.bound.route },
        });
      });
    } catch (thrown) {
      const error = asHoldfastError(thrown);
      status = error.kind.status;
      if (error.code === 'internal.unexpected') log.error('an upgrade failed', { requestId, error: error.cause });
      refuse(socket, error, requestId);
    } finally {
      end();
      metrics.end('GET', route, status, clock.monotonic() - start);
    }
  }

  close(): void {
    for (const client of this.#sockets.clients) client.close(1001, 'server.stopping');
    this.#sockets.close();
  }

  async #admit(incoming: IncomingMessage, requestId: string, signal: AbortSignal) {
    const url = new URL(incoming.url ?? '/', 'http://localhost');
    for (const entry of this.#entries) {
      const match = entry.pattern.exec(url.pathname);
      if (match === null) continue;
      const { role } = entry.bound.route;
      if (role === 'public') throw new TypeError('public routes are not bound here');
      const principal = await admit(this.#http.identity, keyOf(incoming), role);
      const params = Object.fromEntries(Object.entries(match.groups ?? {}).map(([k, v]) => [k, decode(v)]));
      const query = Object.fromEntries(url.searchParams);
      for (const text of [...Object.values(params), ...Object.values(query)])
        if (text.includes('\0')) throw new HoldfastError('request.invalid', 'The address contains a NUL.');
      const trace = traceOf(incoming);
      const exchange: Exchange = { requestId, principal, incoming, params, query, signal, trace, log: this.#http.log };
      return { entry, exchange };
    }
    throw new HoldfastError('request.not_found', 'No WebSocket route.', { path: url.pathname.slice(0, 256) });
  }

  /** Resolves when the handler and the connection are over, with the error after the upgrade; one before it is thrown. */
  async #run(
    entry: Entry,
    exchange: Exchange,
    accept: () => Promise<MessageSocket>,
    opened: () => MessageSocket | null,
  ): Promise<HoldfastError | null> {
    const { keyId } = exchange.principal;
    const open = this.#openPerKey.get(keyId) ?? 0;
    if (open >= maxStreamsPerKey)
      throw new HoldfastError('quota.exceeded', undefined, {
        quota: 'open WebSockets of a key',
        limit: maxStreamsPerKey,
      });
    this.#openPerKey.set(keyId, open + 1);
    try {
      await entry.bound.run(exchange, accept);
      opened()?.close(1000);
      return null;
    } catch (thrown) {
      const channel = opened();
      if (channel === null) throw thrown;
      const error = asHoldfastError(thrown);
      if (error.code === 'internal.unexpected')
        this.#http.log.error('a WebSocket failed', { requestId: exchange.requestId, error: error.cause });
      // Close reasons are the only place for an error once the protocol is WebSocket.
      channel.close(error.kind.retryable ? 1013 : 1011, error.code);
      return error;
    } finally {
      const left = (this.#openPerKey.get(keyId) ?? 1) - 1;
      if (left > 0) this.#openPerKey.set(keyId, left);
      else this.#openPerKey.delete(keyId);
    }
  }

  #accept(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<MessageSocket> {
    return new Promise((resolve, reject) => {
      if (socket.destroyed) {
        reject(new HoldfastError('request.aborted'));
        return;
      }
      if (
        incoming.headers['sec-websocket-key'] === undefined ||
        incoming.headers.upgrade?.toLowerCase() !== 'websocket'
      ) {
        reject(new HoldfastError('request.invalid', 'This is not a WebSocket upgrade.'));
        return;
      }
      // A handshake that ws refuses by itself ends the socket and calls nobody.
      socket.once('close', () => reject(new HoldfastError('request.aborted')));
      this.#sockets.handleUpgrade(incoming, socket, head, (opened) =>
        resolve(new MessageSocket(opened, this.#http.clock)),
      );
    });
  }
}
