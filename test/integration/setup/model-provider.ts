import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';

export interface ReceivedCall {
  readonly path: string;
  readonly authorization: string;
  readonly body: string;
  /** Resolves when the caller has closed the connection or has the whole answer. */
  readonly closed: Promise<void>;
}

const usage = { prompt_tokens: 11, completion_tokens: 4, total_tokens: 15 };

const chunk = (content: string): string =>
  `data: ${JSON.stringify({
    ...{ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4.1-mini' },
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
  })}\n\n`;

const lastChunks = `data: ${JSON.stringify({
  ...{ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-4.1-mini', usage },
  choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
})}\n\ndata: [DONE]\n\n`;

const completion = (content: string): string =>
  JSON.stringify({
    ...{ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt-4.1-mini', usage },
    choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  });

/** Letters counted: near texts have near vectors. */
const embeddingOf = (input: string): number[] => {
  const counts = Array.from({ length: 27 }, () => 0);
  for (const c of input.toLowerCase()) {
    const at = c.charCodeAt(0) - 97;
    const place = at >= 0 && at < 26 ? at : 26;
    counts[place] = (counts[place] ?? 0) + 1;
  }
  return counts;
};

/** A provider in OpenAI's wire format on real HTTP, which answers as the test says. */
export class ModelProvider implements AsyncDisposable {
  readonly received: ReceivedCall[] = [];
  /** True: answers begin and never end, until `release`. */
  holds = false;
  #release: () => void = () => undefined;
  #released: Promise<void> = Promise.resolve();
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));
  baseUrl = '';

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    this.baseUrl = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/v1`;
    return this;
  }

  /** From now on answers stay open in their middle. */
  hold(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.holds = true;
    this.#released = promise;
    this.#release = resolve;
  }

  release(): void {
    this.holds = false;
    this.#release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    const body = await text(request);
    const { authorization = '' } = request.headers;
    this.received.push({ path: request.url ?? '', authorization, body, closed });
    const document = JSON.parse(body);
    if (request.url?.endsWith('/embeddings') === true) {
      const data = [{ object: 'embedding', index: 0, embedding: embeddingOf(String(document.input)) }];
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({ object: 'list', model: 'embed', data, usage: { prompt_tokens: 3, total_tokens: 3 } }),
      );
      return;
    }
    const said = `answer ${this.received.length}`;
    if (document.stream === true) {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(chunk(said));
      if (this.holds) await Promise.race([this.#released, closed]);
      response.end(lastChunks);
      return;
    }
    if (this.holds) await Promise.race([this.#released, closed]);
    response.setHeader('content-type', 'application/json');
    response.end(completion(said));
  }
}
