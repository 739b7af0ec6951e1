import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '@holdfast/core';

/**
 * The body in parts. Whoever stops reading early leaves the connection whole, so that the answer that says why still arrives; the rest
 * of the body is read and thrown away once that is sent.
 */
const partsOf = (incoming: IncomingMessage): AsyncIterable<unknown> => incoming.iterator({ destroyOnReturn: false });

const tooLarge = (maxBytes: number): HoldfastError =>
  new HoldfastError('request.too_large', `The body is longer than ${maxBytes} bytes.`, { maxBytes });

/** The whole body, at most `maxBytes`; a longer one is refused as soon as that is known. */
export const readBody = async (incoming: IncomingMessage, maxBytes: number): Promise<Buffer> => {
  const told = Number(incoming.headers['content-length'] ?? 0);
  if (told > maxBytes) throw tooLarge(maxBytes);
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of partsOf(incoming)) {
    if (!(part instanceof Buffer)) continue;
    size += part.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    parts.push(part);
  }
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
};

const decoder = new TextDecoder('utf-8', { fatal: true });

/** A JSON body. None at all counts as `{}`, so that a body whose fields all have defaults may be left out. */
export const readJson = async (incoming: IncomingMessage, maxBytes: number): Promise<unknown> => {
  const bytes = await readBody(incoming, maxBytes);
  if (bytes.byteLength === 0) return {};
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    throw new HoldfastError('request.invalid', 'The body is not JSON in UTF-8.');
  }
};

/** The body as it comes, with the client held back while nobody reads. */
export async function* streamBody(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of partsOf(incoming)) if (part instanceof Uint8Array && part.byteLength > 0) yield part;
  } catch (cause) {
    throw new HoldfastError('request.invalid', 'The body broke off.', {}, { cause });
  }
  if (!incoming.complete) throw new HoldfastError('request.invalid', 'The body broke off.');
}
