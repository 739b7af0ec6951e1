import { HoldfastError } from '@holdfast/core';

/** Most bytes that `bytes()` and `text()` hold unless told otherwise. */
const defaultMaxBytes = 268_435_456;

/** An answer of raw bytes. It can be read once: as an async iterable, or as a whole with `bytes` or `text`. */
export class ByteStream implements AsyncIterable<Uint8Array> {
  /** Media type, null when the server names none. */
  readonly contentType: string | null;
  /** Bytes to come, null when the server does not know. */
  readonly length: number | null;
  readonly #source: AsyncIterable<Uint8Array>;

  constructor(source: AsyncIterable<Uint8Array>, headers: { get(name: string): string | null }) {
    this.#source = source;
    this.contentType = headers.get('content-type');
    const length = headers.get('content-length');
    this.length = length !== null && /^\d{1,15}$/.test(length) ? Number(length) : null;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#source[Symbol.asyncIterator]();
  }

  /** All of it. Throws `server.answer_invalid` beyond `maxBytes` (256 MiB unless told). */
  async bytes(maxBytes = defaultMaxBytes): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.#source) {
      size += chunk.byteLength;
      if (size > maxBytes) {
        throw new HoldfastError('server.answer_invalid', `The content is longer than ${maxBytes} bytes.`, { maxBytes });
      }
      parts.push(chunk);
    }
    const whole = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.byteLength;
    }
    return whole;
  }

  /** All of it as UTF-8; what is not valid becomes U+FFFD. */
  async text(maxBytes = defaultMaxBytes): Promise<string> {
    return new TextDecoder().decode(await this.bytes(maxBytes));
  }
}
