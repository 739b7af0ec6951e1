import { constants, open } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/core';
import { crc32c } from './crc32c.ts';

/** Consecutive pages of the RAM that one layer's data file holds, at the same offset as in the RAM. */
export interface RamExtent {
  readonly firstPage: number;
  readonly pages: number;
  readonly layer: number;
}

/**
 * The index of a RAM image; the layout is `struct hf_index_header` in `native/ramshim.h`. Pages have 4096 bytes. A page in no
 * extent is the template's.
 */
export interface RamIndex {
  readonly ramBytes: number;
  readonly pageCount: number;
  /** Sorted, not overlapping, inside `ramBytes`. */
  readonly extents: readonly RamExtent[];
  /** CRC-32C of each page in the order of the extents. */
  readonly checksums: Uint32Array;
  /** One more than the highest layer number in use; 0 for an empty image. */
  readonly layerCount: number;
}

export const ramPageBytes = 4096;

const magic = 'HFRAMIX1';
const headerBytes = 32;
const extentBytes = 16;
const checksumBytes = 4;
/** As the shim: beyond this it is not a sandbox's RAM. */
const maxRamBytes = 2 ** 40;
/** For the largest memory tier with every page in an extent of its own. */
const maxIndexBytes = 64 * 1024 * 1024;
const maxLayers = 64;

const invalid = (reason: string): HoldfastError =>
  new HoldfastError('ram.corrupt', 'The RAM index is not valid.', { reason });

/**
 * Opens a file that a QEMU process may have put there: never follows a symbolic link, never blocks on a fifo.
 * The caller closes it.
 */
export async function openUntrusted(path: string) {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const info = await file.stat();
  if (info.isFile()) return { file, bytes: info.size };
  await file.close();
  throw invalid('not a regular file');
}

/**
 * Reads and checks an index: every bound, the order, the checksum. Throws `ram.corrupt` with a `reason` when it is not
 * valid, and the system's error when it cannot be read.
 */
export async function readRamIndex(path: string): Promise<RamIndex> {
  const { file, bytes } = await openUntrusted(path);
  try {
    if (bytes > maxIndexBytes) throw invalid('larger than any index');
    const content = Buffer.alloc(bytes);
    let held = 0;
    while (held < bytes) {
      const { bytesRead } = await file.read(content, held, bytes - held, held);
      if (bytesRead === 0) throw invalid('it shrank while it was read');
      held += bytesRead;
    }
    return parseRamIndex(content);
  } finally {
    await file.close();
  }
}

/** The same for bytes already in memory. */
export function parseRamIndex(content: Buffer): RamIndex {
  if (content.length < headerBytes + checksumBytes) throw invalid('shorter than a header');
  if (content.toString('latin1', 0, 8) !== magic) throw invalid('not a RAM index');
  if (content.readUInt32LE(8) !== ramPageBytes) throw invalid('the page size is not 4096');
  const extentCount = content.readUInt32LE(12);
  const ramBytes = content.readBigUInt64LE(16);
  const declaredPages = content.readBigUInt64LE(24);
  if (ramBytes > maxRamBytes) throw invalid('the RAM size is impossible');
  const totalPages = Math.floor(Number(ramBytes) / ramPageBytes);
  if (declaredPages > totalPages || extentCount > declaredPages) throw invalid('the counts are impossible');
  const pageCount = Number(declaredPages);
  const end = headerBytes + extentCount * extentBytes + pageCount * checksumBytes;
  if (content.length !== end + checksumBytes) throw invalid('the file size does not fit the counts');
  if (crc32c(content.subarray(0, end)) !== content.readUInt32LE(end)) throw invalid('the checksum does not match');
  const extents = parseExtents(content, extentCount, totalPages);
  if (extents.reduce((sum, extent) => sum + extent.pages, 0) !== pageCount) throw invalid('the extents do not add up');
  const checksumsAt = headerBytes + extentCount * extentBytes;
  const checksums = Uint32Array.from({ length: pageCount }, (_, i) =>
    content.readUInt32LE(checksumsAt + i * checksumBytes),
  );
  const layerCount = extents.reduce((most, extent) => Math.max(most, extent.layer + 1), 0);
  return { ramBytes: Number(ramBytes), pageCount, extents, checksums, layerCount };
}

function parseExtents(content: Buffer, count: number, totalPages: number): RamExtent[] {
  const extents: RamExtent[] = [];
  let next = 0;
  for (let i = 0; i < count; i++) {
    const at = headerBytes + i * extentBytes;
    const first = content.readBigUInt64LE(at);
    const pages = content.readUInt32LE(at + 8);
    const layer = content.readUInt32LE(at + 12);
    if (pages === 0) throw invalid('an extent is empty');
    if (first < next) throw invalid('extents are out of order or overlap');
    if (first + BigInt(pages) > totalPages) throw invalid('an extent is outside the RAM');
    if (layer >= maxLayers) throw invalid('a layer number is too large');
    const firstPage = Number(first);
    next = firstPage + pages;
    extents.push({ firstPage, pages, layer });
  }
  return extents;
}
