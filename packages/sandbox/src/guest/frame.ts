import { guestLimits } from './limits.ts';
import { FrameType, maxChannel } from './tags.ts';
import { ProtocolViolation } from './violation.ts';

export const frameMarker = 0xa5;
const { headerBytes, maxPayloadBytes } = guestLimits;

export interface FrameHeader {
  readonly type: number;
  readonly channel: number;
  readonly stream: number;
  readonly length: number;
}

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly stream: number;
  /** A view into what was received: copy what must outlive the call that hands it over. */
  readonly payload: Buffer;
}

/** A frame of DATA, EOF, CREDIT or CANCEL; frames of TLVs are built by `FieldsBuilder`. */
export function encodeFrame(type: number, channel: number, stream: number, payload?: Uint8Array): Buffer {
  const length = payload?.byteLength ?? 0;
  const frame = Buffer.allocUnsafe(headerBytes + length);
  frame.writeUInt32LE((channel << 16) | (type << 8) | frameMarker, 0);
  frame.writeUInt32LE(stream, 4);
  frame.writeUInt32LE(length, 8);
  if (payload !== undefined) frame.set(payload, headerBytes);
  return frame;
}

export function encodeCredit(channel: number, stream: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32LE(bytes, 0);
  return encodeFrame(FrameType.credit, channel, stream, payload);
}

/** Reads and checks all that the header alone can tell; faults are named, and looked for in the order, of protocol.md. */
export function decodeHeader(bytes: Buffer, at: number): FrameHeader {
  if (bytes[at] !== frameMarker) throw new ProtocolViolation('bad_marker');
  const type = bytes.readUInt8(at + 1);
  const channel = bytes.readUInt8(at + 2);
  const stream = bytes.readUInt32LE(at + 4);
  const length = bytes.readUInt32LE(at + 8);
  if (type < FrameType.hello || type > FrameType.cancel) throw new ProtocolViolation('bad_type');
  if (bytes[at + 3] !== 0) throw new ProtocolViolation('bad_flags');
  const bytesLike = type === FrameType.data || type === FrameType.eof || type === FrameType.credit;
  if (channel > (bytesLike ? maxChannel : 0)) throw new ProtocolViolation('bad_channel');
  const sessionWide = type === FrameType.hello || (type === FrameType.error && stream === 0);
  if (sessionWide !== (stream === 0)) throw new ProtocolViolation('bad_stream');
  if (length > maxPayloadBytes || !lengthFits(type, length)) throw new ProtocolViolation('bad_length');
  return { type, channel, stream, length };
}

/** The amount of a CREDIT frame. */
export function decodeCredit(payload: Buffer): number {
  const bytes = payload.readUInt32LE(0);
  if (bytes < 1 || bytes > guestLimits.maxCreditBytes) throw new ProtocolViolation('bad_credit');
  return bytes;
}

function lengthFits(type: number, length: number): boolean {
  if (type === FrameType.data) return length > 0;
  if (type === FrameType.credit) return length === 4;
  if (type === FrameType.eof || type === FrameType.cancel) return length === 0;
  return true;
}

/**
 * Cuts a byte stream into frames. Frames that arrive whole are handed over as views; of one that is cut, the rest is
 * gathered in a buffer of its exact size, so each byte is copied at most once whatever the chunks are.
 */
export class FrameReader {
  readonly #deliver: (frame: Frame) => void;
  readonly #head = Buffer.alloc(headerBytes);
  #headFill = 0;
  #header: FrameHeader | null = null;
  #body = Buffer.alloc(0);
  #bodyFill = 0;
  #stopped = false;

  constructor(deliver: (frame: Frame) => void) {
    this.#deliver = deliver;
  }

  /** True while a frame has begun and not ended. */
  get midFrame(): boolean {
    return this.#headFill > 0 || this.#header !== null;
  }

  /** Delivers nothing from now on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Throws `ProtocolViolation`, after which the reader must not be used. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#header !== null) at = this.#gatherBody(this.#header, chunk, at);
      else if (this.#headFill > 0) at = this.#gatherHead(chunk, at);
      else at = this.#begin(chunk, at);
    }
  }

  #begin(chunk: Buffer, at: number): number {
    if (chunk[at] === 0) return at + 1;
    if (chunk[at] !== frameMarker) throw new ProtocolViolation('bad_marker');
    if (chunk.length - at < headerBytes) return this.#gatherHead(chunk, at);
    return this.#withHeader(decodeHeader(chunk, at), chunk, at + headerBytes);
  }

  #gatherHead(chunk: Buffer, at: number): number {
    const copied = chunk.copy(this.#head, this.#headFill, at);
    this.#headFill += copied;
    if (this.#headFill < headerBytes) return at + copied;
    this.#headFill = 0;
    return this.#withHeader(decodeHeader(this.#head, 0), chunk, at + copied);
  }

  #withHeader(header: FrameHeader, chunk: Buffer, at: number): number {
    const end = at + header.length;
    if (end <= chunk.length) {
      this.#emit(header, chunk.subarray(at, end));
      return end;
    }
    this.#header = header;
    this.#body = Buffer.allocUnsafeSlow(header.length);
    this.#bodyFill = chunk.copy(this.#body, 0, at);
    return chunk.length;
  }

  #gatherBody(header: FrameHeader, chunk: Buffer, at: number): number {
    const copied = chunk.copy(this.#body, this.#bodyFill, at);
    this.#bodyFill += copied;
    if (this.#bodyFill === header.length) {
      this.#header = null;
      this.#emit(header, this.#body);
    }
    return at + copied;
  }

  #emit(header: FrameHeader, payload: Buffer): void {
    this.#deliver({ type: header.type, channel: header.channel, stream: header.stream, payload });
  }
}
