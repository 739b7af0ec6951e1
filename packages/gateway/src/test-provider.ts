import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { loadRecordings } from './providers/recording.ts';

export interface ReceivedRequest {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** Resolves when the connection of this request is closed. */
  readonly closed: Promise<void>;
}

export type Behaviour = (request: ReceivedRequest, response: ServerResponse) => void | Promise<void>;

export const portOf = (server: Server): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port');
  return address.port;
};

/** A real HTTP server in the role of a provider; what it does is a queue of behaviours, the last one repeated. */
export class TestProvider {
  readonly received: ReceivedRequest[] = [];
  readonly #server = createServer((req, res) => void this.#serve(req, res));
  #behaviours: Behaviour[] = [];

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${portOf(this.#server)}/v1`;
  }

  will(...behaviours: Behaviour[]): void {
    this.#behaviours = behaviours;
    this.received.length = 0;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    const closed = new Promise<void>((resolve) => res.once('close', resolve));
    const received = { url: req.url ?? '', headers: req.headers, body: Buffer.concat(chunks), closed };
    this.received.push(received);
    const behaviour = this.#behaviours.length > 1 ? this.#behaviours.shift() : this.#behaviours[0];
    if (behaviour === undefined) res.writeHead(500).end();
    else await behaviour(received, res);
  }
}

const recordings = await loadRecordings(new URL('../recorded/', import.meta.url).href);

const replyOf = (turn: number) => {
  const reply = recordings.get('count-files')?.replies[turn];
  if (reply?.whole === undefined || reply.stream === undefined) throw new Error(`count-files has no turn ${turn}`);
  return { whole: reply.whole, stream: reply.stream };
};

/** The exact bytes of a recorded turn. */
export const wholeBytes = (turn: number): string => JSON.stringify(replyOf(turn).whole.body);
export const streamEvents = (turn: number): string[] =>
  replyOf(turn).stream.events.map((e) => `${e.lines.join('\n')}\n\n`);

export const sendsWhole =
  (turn: number): Behaviour =>
  (_, res) => {
    res.writeHead(200, { 'content-type': 'application/json', 'x-request-id': 'req_provider', 'set-cookie': 'a=b' });
    res.end(wholeBytes(turn));
  };

const startStream = (res: ServerResponse): void => {
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-request-id': 'req_provider' });
};

const write = (res: ServerResponse, text: string): Promise<void> =>
  new Promise((resolve) => {
    res.write(text, () => resolve());
  });

export const sendsStream =
  (turn: number): Behaviour =>
  async (_, res) => {
    startStream(res);
    for (const event of streamEvents(turn)) await write(res, event);
    res.end();
  };

/** Sends the first `events` of a stream, then does `then`. */
export const breaksAfter =
  (turn: number, events: number, then: (res: ServerResponse) => void): Behaviour =>
  async (_, res) => {
    startStream(res);
    res.flushHeaders();
    for (const event of streamEvents(turn).slice(0, events)) await write(res, event);
    then(res);
  };

export const resets: Behaviour = (_, res) => void res.socket?.destroy();
export const hangs: Behaviour = () => undefined;

export const answers =
  (status: number, headers: Record<string, string> = {}): Behaviour =>
  (_, res) => {
    res.writeHead(status, { 'content-type': 'application/json', ...headers });
    res.end(JSON.stringify({ error: { message: `provider says ${status}`, type: 'x', param: null, code: null } }));
  };
