import { HoldfastError } from '@holdfast/core';

/** Reads a body to its end; throws what `tooLarge` makes once it is longer than `maxBytes`. */
export const readBounded = async (
  read: () => Promise<Uint8Array | null>,
  maxBytes: number,
  tooLarge: () => Error,
): Promise<Uint8Array<ArrayBuffer>> => {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const chunk = await read();
    if (chunk === null) break;
    length += chunk.length;
    if (length > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
};

/** The caller's body. Throws `request.too_large` without reading further than that. */
export const readRequestBody = async (request: Request, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> => {
  const tooLarge = (): HoldfastError =>
    new HoldfastError('request.too_large', `The body is longer than ${maxBytes} bytes.`, { maxBytes });
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge();
  const encoding = request.headers.get('content-encoding') ?? 'identity';
  if (encoding !== 'identity')
    throw new HoldfastError('request.invalid', `The content encoding ${encoding.slice(0, 64)} is not supported.`);
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  try {
    const read = async (): Promise<Uint8Array | null> => {
      const { done, value } = await reader.read();
      return done ? null : value;
    };
    return await readBounded(read, maxBytes, tooLarge);
  } finally {
    // Reports nothing new: either all was read, or the error is on its way already.
    await reader.cancel().catch(() => undefined);
  }
};
