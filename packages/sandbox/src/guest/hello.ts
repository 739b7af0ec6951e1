import { HoldfastError } from '@holdfast/core';
import { frameMarker } from './frame.ts';
import { guestLimits } from './limits.ts';
import { FrameType, protocolVersion, Tag } from './tags.ts';
import { type Fields, FieldsBuilder } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

const { headerBytes } = guestLimits;
export const nonceBytes = 16;

export interface GuestHello {
  /** Version of the agent's program. */
  readonly agent: string;
  /** New for each boot of the guest's kernel; a resume keeps it. */
  readonly bootId: string;
  readonly features: readonly string[];
}

export const helloFrame = (nonce: Uint8Array): Buffer =>
  new FieldsBuilder().number(Tag.version, protocolVersion).bytes(Tag.nonce, nonce).frame(FrameType.hello, 0);

export function parseHello(fields: Fields, nonce: Uint8Array): GuestHello {
  const echoed = fields.bytes(Tag.nonce);
  if (echoed === null || !echoed.equals(nonce)) throw new ProtocolViolation('HELLO has a wrong nonce');
  if (fields.requireNumber(Tag.version) !== protocolVersion) throw new ProtocolViolation('HELLO has a wrong version');
  return {
    agent: fields.requireText(Tag.agent, 128),
    bootId: fields.requireText(Tag.bootId, 128),
    features: fields.texts(Tag.features, 128, guestLimits.maxFeatures),
  };
}

/**
 * Finds the answer to HELLO in a stream that may begin with anything: bytes of an earlier session are skipped, at most
 * 4 MiB of them. The answer is known by its nonce, which nothing older can contain.
 */
export class HelloScan {
  /** What follows the header in the answer: VERSION and NONCE. */
  readonly #answer: Buffer;
  /** What follows the header of an agent that speaks another version: CODE. */
  readonly #mismatch = new FieldsBuilder().text(Tag.code, 'version_mismatch').frame(0, 0).subarray(headerBytes);
  #tail = Buffer.alloc(0);
  #skipped = 0;

  constructor(nonce: Uint8Array) {
    this.#answer = helloFrame(nonce).subarray(headerBytes);
  }

  /** Returns the bytes from the answer's header on, null until it is found. */
  push(chunk: Buffer): Buffer | null {
    const bytes = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk]);
    const at = find(bytes, this.#answer, FrameType.hello);
    if (at !== null) {
      this.#checkSkipped(at);
      return bytes.subarray(at);
    }
    if (find(bytes, this.#mismatch, FrameType.error) !== null) throw new HoldfastError('guest.version_mismatch');
    const keep = Math.min(bytes.length, headerBytes + Math.max(this.#answer.length, this.#mismatch.length) - 1);
    this.#checkSkipped(bytes.length - keep);
    // A copy: the tail must not keep a whole chunk alive.
    this.#tail = Buffer.from(bytes.subarray(bytes.length - keep));
    return null;
  }

  #checkSkipped(bytes: number): void {
    this.#skipped += bytes;
    if (this.#skipped > guestLimits.maxHelloSkipBytes) throw new ProtocolViolation('no HELLO within 4 MiB');
  }
}

/** Where a frame of `type` on stream 0 starts whose payload begins with `payload`. */
function find(bytes: Buffer, payload: Buffer, type: number): number | null {
  for (let at = bytes.indexOf(payload); at !== -1; at = bytes.indexOf(payload, at + 1)) {
    const start = at - headerBytes;
    if (start < 0) continue;
    const plain = bytes[start] === frameMarker && bytes[start + 1] === type && bytes.readUInt16LE(start + 2) === 0;
    if (plain && bytes.readUInt32LE(start + 4) === 0) return start;
  }
  return null;
}
