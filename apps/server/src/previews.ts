import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '@holdfast/core';
import type { Principal } from '@holdfast/identity';
import type { GuestSocket, SandboxService } from '@holdfast/sandbox';
import { type HttpContext, requestIdOf } from './http/context.ts';
import { asHoldfastError, problemText } from './http/failure.ts';
import { admit, keyOf } from './http/gate.ts';
import { refuse } from './http/upgrades.ts';
import { cancelOnAbort } from './routes/abort.ts';

export interface PreviewTarget {
  readonly port: number;
  /** Id or name. */
  readonly sandbox: string;
}

const cookieName = 'hf_key';
const hostForm = /^(\d{1,5})-([a-z0-9][a-z0-9_-]{0,62})\.localhost(?::\d+)?$/i;

/** Headers between two hops, which a proxy must not pass on: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 */
const hopHeaders = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const cookiesOf = (incoming: IncomingMessage): string[] =>
  (incoming.headers.cookie ?? '')
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '');

const keyCookie = (incoming: IncomingMessage): string | null => {
  const found = cookiesOf(incoming).find((part) => part.startsWith(`${cookieName}=`));
  return found === undefined ? null : found.slice(cookieName.length + 1);
};

/** The key in the address, for the first visit of a browser, and the address without it. */
const keyInAddress = (incoming: IncomingMessage): { key: string; rest: string } | null => {
  const url = new URL(incoming.url ?? '/', 'http://preview');
  const key = url.searchParams.get(cookieName);
  if (key === null) return null;
  url.searchParams.delete(cookieName);
  return { key, rest: `${url.pathname}${url.search}` };
};

/**
 * What the program in the sandbox gets to see: all of the visitor's headers but those of this hop and our key, which
 * must not reach untrusted code.
 */
const forwardedHeaders = (incoming: IncomingMessage, upgrade: boolean): string[] => {
  const named = new Set((incoming.headers.connection ?? '').toLowerCase().split(/\s*,\s*/));
  const isOurs = (value: string): boolean => /hf_[0-9a-z]{26}_[0-9a-z]{32}/.test(value);
  const headers: string[] = [];
  for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [incoming.rawHeaders[i], incoming.rawHeaders[i + 1]];
    const lower = name.toLowerCase();
    if (hopHeaders.has(lower) || named.has(lower) || lower === 'cookie' || isOurs(value)) continue;
    headers.push(name, value);
  }
  const cookies = cookiesOf(incoming).filter((part) => !part.startsWith(`${cookieName}=`));
  if (cookies.length > 0) headers.push('Cookie', cookies.join('; '));
  if (upgrade) headers.push('Connection', 'Upgrade', 'Upgrade', incoming.headers.upgrade ?? 'websocket');
  else headers.push('Connection', 'close');
  headers.push('X-Forwarded-Host', incoming.headers.host ?? '', 'X-Forwarded-Proto', 'http');
  return headers;
};

const answerHeaders = (answer: IncomingMessage): string[] => {
  const headers: string[] = [];
  for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = [answer.rawHeaders[i], answer.rawHeaders[i + 1]];
    if (!hopHeaders.has(name.toLowerCase())) headers.push(name, value);
  }
  return headers;
};

const exchange = (request: ClientRequest, incoming: IncomingMessage): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
    pipeline(incoming, request).catch(reject);
  });

const badAnswer = (cause: unknown): unknown =>
  cause instanceof HoldfastError
    ? cause
    : new HoldfastError('preview.failed', undefined, { reason: String(cause).slice(0, 200) }, { cause });

/** Ports in sandboxes as web sites of their own, `{port}-{sandbox}.localhost`, closed to whoever has no key. */
export class Previews {
  readonly #http: HttpContext;
  readonly #sandboxes: SandboxService;

  constructor(http: HttpContext, sandboxes: SandboxService) {
    this.#http = http;
    this.#sandboxes = sandboxes;
  }

  /** Null when the request is for the server itself. */
  targetOf(incoming: IncomingMessage): PreviewTarget | null {
    const host = incoming.headers.host;
    if (host === undefined || !host.includes('.localhost')) return null;
    const match = hostForm.exec(host);
    const port = Number(match?.[1]);
    const sandbox = match?.[2]?.toLowerCase();
    return sandbox === undefined || port < 1 || port > 65_535 ? null : { port, sandbox };
  }

  /** Answers one HTTP request from the program that listens in the sandbox. Never rejects. */
  async handle(target: PreviewTarget, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const requestId = requestIdOf(incoming, this.#http.clock);
    const { controller, end } = this.#http.active.begin();
    outgoing.once('close', () => controller.abort(new HoldfastError('request.aborted')));
    try {
      const visit = keyInAddress(incoming);
      const principal = await this.#admit(visit?.key ?? keyOf(incoming) ?? keyCookie(incoming));
      if (visit !== null) {
        const cookie = `${cookieName}=${visit.key}; Path=/; HttpOnly; SameSite=Lax`;
        outgoing.writeHead(303, { location: visit.rest, 'set-cookie': cookie, 'referrer-policy': 'no-referrer' }).end();
        return;
      }
      await this.#proxy(target, principal, incoming, outgoing, controller.signal);
    } catch (thrown) {
      const error = asHoldfastError(badAnswer(thrown));
      if (outgoing.headersSent) outgoing.destroy();
      else
        outgoing
          .writeHead(error.kind.status, { 'content-type': 'application/problem+json', 'x-request-id': requestId })
          .end(problemText(error, requestId));
    } finally {
      end();
    }
  }

  /** Joins an upgraded connection with one in the sandbox. Never rejects. */
  async upgrade(target: PreviewTarget, incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { controller, end } = this.#http.active.begin();
    socket.once('close', () => controller.abort(new HoldfastError('request.aborted')));
    socket.on('error', () => undefined);
    let joined = false;
    try {
      const principal = await this.#admit(keyOf(incoming) ?? keyCookie(incoming));
      await this.#withSocket(target, principal, controller.signal, async (guest) => {
        joined = true;
        const lines = forwardedHeaders(incoming, true);
        const fields = lines.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${lines[i + 1] ?? ''}`] : []));
        guest.write(`${incoming.method} ${incoming.url} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`);
        guest.write(head);
        await Promise.all([pipeline(guest, socket), pipeline(socket, guest)]);
      });
    } catch (thrown) {
      // Once joined the bytes belong to the two ends, and an answer of ours would be taken for theirs.
      if (!joined && !socket.destroyed)
        refuse(socket, asHoldfastError(badAnswer(thrown)), requestIdOf(incoming, this.#http.clock));
    } finally {
      if (joined) socket.destroy();
      end();
    }
  }

  #admit(key: string | null): Promise<Principal> {
    return admit(this.#http.identity, key, 'developer');
  }

  #withSocket(
    target: PreviewTarget,
    principal: Principal,
    signal: AbortSignal,
    use: (socket: GuestSocket) => Promise<void>,
  ): Promise<void> {
    const activity = { kind: 'forward' as const, detail: `preview of port ${target.port}` };
    return this.#sandboxes.withGuest(principal, target.sandbox, activity, async (guest) => {
      const socket = await guest.connect(target.port);
      const destroy = (): void => void socket.destroy();
      await cancelOnAbort(signal, destroy, () => use(socket)).finally(destroy);
    });
  }

  #proxy(
    target: PreviewTarget,
    principal: Principal,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#withSocket(target, principal, signal, async (socket) => {
      const request = httpRequest({
        method: incoming.method ?? 'GET',
        path: incoming.url ?? '/',
        headers: forwardedHeaders(incoming, false),
        createConnection: () => socket,
        setHost: false,
      });
      const answer = await exchange(request, incoming);
      outgoing.writeHead(answer.statusCode ?? 502, answerHeaders(answer));
      await pipeline(answer, outgoing);
    });
  }
}
