import type { IncomingMessage } from 'node:http';
import { HoldfastError } from '@holdfast/core';

const tooLarge = (maxBytes: number): HoldfastError =>
  new HoldfastError('request.too_large', `The body is longer than ${maxBytes} bytes.`, { maxBytes });

/**
 * The caller's body, at most `maxBytes`. Errors: `request.too_large` without reading further than that,
 * `request.invalid` for a body that is compressed or breaks off.
 */
export const readRequestBody = (incoming: IncomingMessage, maxBytes: number): Promise<Buffer> => {
  const { 'content-length': told, 'content-encoding': encoding = 'identity' } = incoming.headers;
  if (told !== undefined && Number(told) > maxBytes) return Promise.reject(tooLarge(maxBytes));
  if (encoding !== 'identity')
    return Promise.reject(
      new HoldfastError('request.invalid', `The content encoding ${encoding.slice(0, 64)} is not supported.`),
    );
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = (error: HoldfastError): void => {
      incoming.off('data', onData);
      // The rest is discarded, so that the answer can be read by a client that is still sending.
      incoming.resume();
      reject(error);
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > maxBytes) stop(tooLarge(maxBytes));
      else chunks.push(chunk);
    };
    incoming.on('data', onData);
    incoming.once('end', () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    );
    incoming.once('error', (cause) =>
      reject(new HoldfastError('request.invalid', 'The body broke off.', {}, { cause })),
    );
    incoming.once('close', () => {
      if (!incoming.complete) reject(new HoldfastError('request.invalid', 'The body broke off.'));
    });
  });
};
