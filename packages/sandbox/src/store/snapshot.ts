import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/core';

/** What a standby keeps beside RAM and disk layers. */
export interface Snapshot {
  /** QEMU's device state. */
  readonly state: Uint8Array;
  /** Index of the RAM image; it carries a checksum for each page. */
  readonly index: Uint8Array;
}

/**
 * The file of a snapshot: the magic `HFSNAP01`, the length of the state as u32 little-endian, the state, the index, and
 * the SHA-256 of everything before.
 */
const magic = Buffer.from('HFSNAP01', 'latin1');
const headerBytes = magic.length + 4;
const digestBytes = 32;

export function packSnapshot(snapshot: Snapshot): Buffer {
  const header = Buffer.alloc(headerBytes);
  magic.copy(header);
  header.writeUInt32LE(snapshot.state.length, magic.length);
  const content = Buffer.concat([header, snapshot.state, snapshot.index]);
  return Buffer.concat([content, digest(content)]);
}

/** Throws `sandbox.standby_corrupt` unless every byte is as it was written. */
export function unpackSnapshot(bytes: Buffer): Snapshot {
  const content = bytes.subarray(0, Math.max(0, bytes.length - digestBytes));
  const whole = content.length >= headerBytes && digest(content).equals(bytes.subarray(content.length));
  const stateBytes = whole ? content.readUInt32LE(magic.length) : 0;
  if (!whole || !content.subarray(0, magic.length).equals(magic) || headerBytes + stateBytes > content.length) {
    throw new HoldfastError('sandbox.standby_corrupt', 'The snapshot of the standby does not match its checksum.');
  }
  const end = headerBytes + stateBytes;
  return { state: content.subarray(headerBytes, end), index: content.subarray(end) };
}

const digest = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
