import { createServer, type ServerResponse } from 'node:http';
import { pieceOf, wholeAnswer } from './answers.ts';

/**
 * The provider of the benchmark, as a process: answers at once, in OpenAI's and Anthropic's format, whole or in a stream
 * of 100 events, each written by itself. Prints its port.
 */
const writeStream = (response: ServerResponse, pieces: readonly string[]): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  let next = 0;
  const step = (): void => {
    const piece = pieces[next];
    next += 1;
    if (piece === undefined) {
      response.end();
      return;
    }
    response.write(piece);
    setImmediate(step);
  };
  step();
};

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const format = request.url?.endsWith('/messages') === true ? 'anthropic' : 'openai';
    if (Buffer.concat(chunks).includes('"stream":true')) {
      writeStream(response, pieceOf[format]);
      return;
    }
    const body = wholeAnswer[format];
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(body);
  });
});

server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' ? address?.port : 0}\n`);
});
process.on('disconnect', () => process.exit(0));
