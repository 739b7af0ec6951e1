import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { argv } from 'node:process';
import { Agent, request } from 'undici';

/**
 * The floor, as a process: the least that a gateway in Node can do. It reads the request and parses it, writes it anew to
 * the provider, parses what comes back, and passes it on. Of a stream it parses the document of each event and passes the
 * bytes on. No keys, no routes, no time-outs, nothing written down. Arguments: the provider's origin. Prints its port.
 */
const origin = argv[2] ?? '';
const agent = new Agent({ connections: 256, headersTimeout: 0, bodyTimeout: 0 });

const bodyOf = async (incoming: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const part of incoming) chunks.push(part);
  return Buffer.concat(chunks).toString();
};

const parseEvents = (text: string): string => {
  const end = text.lastIndexOf('\n\n');
  if (end === -1) return text;
  for (const event of text.slice(0, end).split('\n\n'))
    if (event.startsWith('data: {')) JSON.parse(event.slice('data: '.length));
  return text.slice(end + 2);
};

const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
  const document: unknown = JSON.parse(await bodyOf(incoming));
  const answer = await request(`${origin}${incoming.url}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer sk-bench' },
    body: JSON.stringify(document),
    dispatcher: agent,
  });
  if (answer.headers['content-type'] === 'text/event-stream') {
    outgoing.writeHead(200, { 'content-type': 'text/event-stream' });
    let rest = '';
    for await (const chunk of answer.body) {
      rest = parseEvents(rest + String(chunk));
      outgoing.write(chunk);
    }
    outgoing.end();
    return;
  }
  const told: unknown = await answer.body.json();
  const text = JSON.stringify(told);
  outgoing.writeHead(answer.statusCode, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  outgoing.end(text);
};

const server = createServer((incoming, outgoing) => void serve(incoming, outgoing));
server.keepAliveTimeout = 120_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`${typeof address === 'object' ? address?.port : 0}\n`);
});
process.on('disconnect', () => process.exit(0));
