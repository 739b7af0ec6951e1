import { isUtf8 } from 'node:buffer';
import { HoldfastError } from '@holdfast/core';
import { guestLimits } from './limits.ts';
import { Tag, tagKinds } from './tags.ts';
import { ProtocolViolation } from './violation.ts';

const fieldHeaderBytes = 6;
const maxU64 = 2n ** 64n - 1n;

/**
 * Builds one frame of TLVs in a single buffer, with room for the frame's header in front, so that sending it needs no
 * copy. Bad values throw `guest.bad_request` and too much of them `guest.too_large`: they come from this side's caller.
 */
export class FieldsBuilder {
  #buffer = Buffer.allocUnsafe(512);
  #length: number = guestLimits.headerBytes;

  text(tag: number, value: string | undefined): this {
    if (value === undefined) return this;
    if (value.includes('\0')) throw new HoldfastError('guest.bad_request', 'Text may not contain NUL.', { tag });
    const length = Buffer.byteLength(value);
    const at = this.#field(tag, length);
    this.#buffer.write(value, at, 'utf8');
    return this;
  }

  texts(tag: number, values: readonly string[] | undefined): this {
    if (values !== undefined) for (const value of values) this.text(tag, value);
    return this;
  }

  bytes(tag: number, value: Uint8Array | undefined): this {
    if (value === undefined) return this;
    const at = this.#field(tag, value.byteLength);
    this.#buffer.set(value, at);
    return this;
  }

  number(tag: number, value: number | bigint | undefined): this {
    if (value === undefined) return this;
    const valid =
      typeof value === 'bigint' ? value >= 0n && value <= maxU64 : Number.isSafeInteger(value) && value >= 0;
    if (!valid) {
      throw new HoldfastError('guest.bad_request', 'A number must be a whole number from 0 on.', {
        tag,
        value: `${value}`,
      });
    }
    const at = this.#field(tag, 8);
    this.#buffer.writeBigUInt64LE(BigInt(value), at);
    return this;
  }

  /** A switch: absent when false, since 0 is every switch's default. */
  flag(tag: number, value: boolean | undefined): this {
    return value === true ? this.number(tag, 1) : this;
  }

  /** The whole frame; the builder must not be used afterwards. */
  frame(type: number, stream: number): Buffer {
    const frame = this.#buffer.subarray(0, this.#length);
    frame.writeUInt32LE((type << 8) | 0xa5, 0);
    frame.writeUInt32LE(stream, 4);
    frame.writeUInt32LE(this.#length - guestLimits.headerBytes, 8);
    return frame;
  }

  /** Makes room; returns where the value goes. The buffer may be another one afterwards. */
  #field(tag: number, length: number): number {
    const at = this.#length + fieldHeaderBytes;
    const end = at + length;
    if (end > guestLimits.headerBytes + guestLimits.maxPayloadBytes) {
      throw new HoldfastError('guest.too_large', 'The request does not fit into one frame of 64 KiB.', {
        tag,
        bytes: length,
      });
    }
    if (end > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(end, this.#buffer.length * 4));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    this.#buffer.writeUInt16LE(tag, this.#length);
    this.#buffer.writeUInt32LE(length, this.#length + 2);
    this.#length = end;
    return at;
  }
}

/**
 * The TLVs of one payload that the guest sent, all checked: a known tag has a value of its kind. Faults are named, and
 * found in the order, of protocol.md. Values are views into the payload, read while the frame is handled; nothing of
 * them outlives it but copies. Missing fields and those beyond a limit throw `ProtocolViolation`.
 */
export class Fields {
  readonly #payload: Buffer;
  /** Flat triples of tag, start, end: a payload may hold ten thousand empty fields, which objects would inflate. */
  readonly #index: number[] = [];
  readonly #records: Fields[] = [];

  /** `opFirst`: the first field must be OP. A record within a record stays bytes. */
  constructor(payload: Buffer, opFirst = false, nested = false) {
    this.#payload = payload;
    let at = 0;
    while (at < payload.length) {
      if (payload.length - at < fieldHeaderBytes) throw new ProtocolViolation('bad_tlv');
      const tag = payload.readUInt16LE(at);
      const start = at + fieldHeaderBytes;
      const end = start + payload.readUInt32LE(at + 2);
      if (end > payload.length) throw new ProtocolViolation('bad_tlv');
      this.#check(tag, start, end, nested);
      if (opFirst && at === 0 && tag !== Tag.op) throw new ProtocolViolation('op_missing');
      this.#index.push(tag, start, end);
      at = end;
    }
    if (opFirst && at === 0) throw new ProtocolViolation('op_missing');
  }

  /** All fields in order, as tag and raw value. */
  *[Symbol.iterator](): Generator<[tag: number, value: Buffer]> {
    for (let i = 0; i < this.#index.length; i += 3) {
      yield [this.#index[i] ?? 0, this.#payload.subarray(this.#index[i + 1], this.#index[i + 2])];
    }
  }

  bytes(tag: number): Buffer | null {
    for (let i = 0; i < this.#index.length; i += 3) {
      if (this.#index[i] === tag) return this.#payload.subarray(this.#index[i + 1], this.#index[i + 2]);
    }
    return null;
  }

  text(tag: number, maxBytes: number): string | null {
    const value = this.bytes(tag);
    return value === null ? null : decodeText(value, maxBytes);
  }

  requireText(tag: number, maxBytes: number): string {
    return this.text(tag, maxBytes) ?? missing(tag);
  }

  texts(tag: number, maxBytes: number, maxCount: number): string[] {
    const found: string[] = [];
    for (const value of this.#all(tag, maxCount)) found.push(decodeText(value, maxBytes));
    return found;
  }

  u64(tag: number): bigint | null {
    const value = this.bytes(tag);
    return value === null ? null : value.readBigUInt64LE(0);
  }

  i64(tag: number): bigint | null {
    const value = this.bytes(tag);
    return value === null ? null : value.readBigInt64LE(0);
  }

  /** A number of at most `max`, which is the largest safe integer unless told. */
  number(tag: number, max: number = Number.MAX_SAFE_INTEGER): number | null {
    const value = this.u64(tag);
    if (value === null) return null;
    if (value > BigInt(max)) throw new ProtocolViolation(`tag ${tag} is too large a number`);
    return Number(value);
  }

  requireNumber(tag: number, max?: number): number {
    return this.number(tag, max) ?? missing(tag);
  }

  flag(tag: number): boolean {
    return this.number(tag, 1) === 1;
  }

  records(maxCount: number): readonly Fields[] {
    if (this.#records.length > maxCount) throw new ProtocolViolation(`more than ${maxCount} records`);
    return this.#records;
  }

  #check(tag: number, start: number, end: number, nested: boolean): void {
    const kind = tagKinds[tag];
    if (kind === 'u64' || kind === 'i64') {
      if (end - start !== 8) throw new ProtocolViolation('bad_number');
    } else if (kind === 'text') {
      const text = this.#payload.subarray(start, end);
      if (text.includes(0) || !isUtf8(text)) throw new ProtocolViolation('bad_text');
    } else if (kind === 'record' && !nested) {
      this.#records.push(new Fields(this.#payload.subarray(start, end), false, true));
    }
  }

  #all(tag: number, maxCount: number): Buffer[] {
    const found: Buffer[] = [];
    for (let i = 0; i < this.#index.length; i += 3) {
      if (this.#index[i] !== tag) continue;
      if (found.length === maxCount) throw new ProtocolViolation(`tag ${tag} appears more than ${maxCount} times`);
      found.push(this.#payload.subarray(this.#index[i + 1], this.#index[i + 2]));
    }
    return found;
  }
}

function decodeText(value: Buffer, maxBytes: number): string {
  if (value.length > maxBytes) throw new ProtocolViolation('a text is too long');
  return value.toString('utf8');
}

function missing(tag: number): never {
  throw new ProtocolViolation(`tag ${tag} is missing`);
}
