import { crc32 } from 'node:zlib';
import { HoldfastError } from '@holdfast/core';

/**
 * Frames of `application/vnd.amazon.eventstream`: total length, length of the headers, a checksum of both, headers,
 * payload, and a checksum of all before it. https://smithy.io/2.0/aws/amazon-eventstream.html
 */
export interface AwsEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Buffer;
}

const preludeBytes = 12;
const leastBytes = 16;
const stringType = 7;
/** Bytes of the value of each type that has a fixed length; types 6 and 7 tell theirs. */
const fixedBytes: readonly (number | null)[] = [0, 0, 1, 2, 4, 8, null, null, 8, 16];

const broken = (why: string): HoldfastError =>
  new HoldfastError('gateway.stream_broken', `The event stream of the provider is damaged: ${why}.`);

const headersOf = (bytes: Buffer): Record<string, string> => {
  const headers: Record<string, string> = {};
  let at = 0;
  while (at < bytes.length) {
    const nameEnd = at + 1 + bytes.readUInt8(at);
    const name = bytes.toString('utf8', at + 1, nameEnd);
    const type = bytes.readUInt8(nameEnd);
    const fixed = fixedBytes[type];
    if (fixed === undefined) throw broken('a header of no known type');
    const start = nameEnd + (fixed === null ? 3 : 1);
    const end = start + (fixed ?? bytes.readUInt16BE(nameEnd + 1));
    if (end > bytes.length) throw broken('a header beyond its end');
    if (type === stringType) headers[name] = bytes.toString('utf8', start, end);
    at = end;
  }
  return headers;
};

/** Cuts a byte stream into events and checks them. */
export class AwsEventDecoder {
  readonly #maxEventBytes: number;
  #pending: Buffer = Buffer.alloc(0);

  constructor(maxEventBytes: number) {
    this.#maxEventBytes = maxEventBytes;
  }

  /** Whole events so far. Throws `gateway.stream_broken` or `gateway.response_too_large`. */
  push(chunk: Uint8Array): AwsEvent[] {
    const buffer = this.#pending.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#pending, chunk]);
    const events: AwsEvent[] = [];
    let at = 0;
    while (buffer.length - at >= preludeBytes) {
      const total = buffer.readUInt32BE(at);
      if (total > this.#maxEventBytes)
        throw new HoldfastError('gateway.response_too_large', 'One event of the stream is too large.', {
          maxBytes: this.#maxEventBytes,
        });
      if (buffer.length - at < total) break;
      events.push(this.#event(buffer.subarray(at, at + total)));
      at += total;
    }
    this.#pending = buffer.subarray(at);
    return events;
  }

  /** True when the stream ended amid an event. */
  get torn(): boolean {
    return this.#pending.length > 0;
  }

  #event(frame: Buffer): AwsEvent {
    if (frame.length < leastBytes) throw broken('a frame that is too short');
    if (crc32(frame.subarray(0, 8)) !== frame.readUInt32BE(8)) throw broken('a wrong checksum of the lengths');
    const bodyEnd = frame.length - 4;
    if (crc32(frame.subarray(0, bodyEnd)) !== frame.readUInt32BE(bodyEnd)) throw broken('a wrong checksum');
    const headersEnd = preludeBytes + frame.readUInt32BE(4);
    if (headersEnd > bodyEnd) throw broken('headers beyond the end');
    try {
      return {
        headers: headersOf(frame.subarray(preludeBytes, headersEnd)),
        payload: frame.subarray(headersEnd, bodyEnd),
      };
    } catch (error) {
      if (error instanceof RangeError) throw broken('a header beyond its end');
      throw error;
    }
  }
}
