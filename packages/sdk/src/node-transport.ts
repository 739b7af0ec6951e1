import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Transport, WireAnswer, WireRequest } from './transport.ts';

// Idle sockets are unreferenced by Node's agent, so they never keep a process from ending.
const agents = {
  http: new HttpAgent({ keepAlive: true, maxFreeSockets: 16 }),
  https: new HttpsAgent({ keepAlive: true, maxFreeSockets: 16 }),
};

async function* bytesOf(message: IncomingMessage): AsyncGenerator<Uint8Array> {
  for await (const chunk of message) if (chunk instanceof Uint8Array) yield chunk;
}

const answerOf = (message: IncomingMessage): WireAnswer => ({
  status: message.statusCode ?? 0,
  headers: {
    get: (name) => {
      const value = message.headers[name.toLowerCase()];
      return Array.isArray(value) ? value.join(', ') : (value ?? null);
    },
  },
  body: bytesOf(message),
});

const open = ({ url, method, headers, body, signal }: WireRequest): ClientRequest => {
  const length = typeof body === 'string' || body instanceof Uint8Array ? Buffer.byteLength(body) : null;
  const options = {
    method,
    headers: { ...headers, ...(length === null ? {} : { 'content-length': String(length) }) },
    ...(signal === null ? {} : { signal }),
  };
  return url.startsWith('https:')
    ? requestHttps(url, { ...options, agent: agents.https })
    : requestHttp(url, { ...options, agent: agents.http });
};

const send = (wire: WireRequest, mayRetry: boolean): Promise<WireAnswer> =>
  new Promise((resolve, reject) => {
    const request = open(wire);
    request.on('response', (message) => {
      resolve(answerOf(message));
      // A server may answer before it has read all of the body (a refusal): nobody wants the rest.
      message.once('end', () => {
        if (!request.writableFinished) request.destroy();
      });
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close an idle connection in the moment that it is used again; a read is safe to repeat.
      const stale = request.reusedSocket && error.code === 'ECONNRESET' && wire.method === 'GET';
      if (stale && mayRetry) resolve(send(wire, false));
      else reject(error);
    });
    const { body } = wire;
    if (body === null) request.end();
    else if (typeof body === 'string' || body instanceof Uint8Array) request.end(body);
    // After an answer `reject` does nothing: then the answer counts.
    else pipeline(Readable.from(body, { objectMode: false }), request).catch(reject);
  });

/**
 * Sends through `node:http`: unlike Node's `fetch` it adds nothing to a process's start (60 ms) and has no time limit of
 * its own (300 s without a byte), which a long exec or a quiet log would run into.
 */
export const nodeTransport: Transport = (wire) => send(wire, true);
