import { writeFile } from 'node:fs/promises';
import { crc32c } from '../../src/ram/crc32c.ts';
import type { RamExtent } from '../../src/ram/index.ts';

export interface ForgedIndex {
  readonly extents: readonly RamExtent[];
  readonly ramBytes: number;
  /** Of each page; that of an empty page unless told. */
  readonly checksum?: number;
  readonly magic?: string;
  readonly pageSize?: number;
  readonly pageCount?: number;
  readonly extentCount?: number;
  /** Changes the bytes before the closing checksum is put behind them. */
  readonly spoil?: (content: Buffer) => void;
}

export const emptyPageChecksum = crc32c(new Uint8Array(4096));

/** An index as the shim writes it, or one that is wrong in a chosen way and yet has a right checksum. */
export function forgeIndex(o: ForgedIndex): Buffer {
  const pages = o.extents.reduce((sum, extent) => sum + extent.pages, 0);
  const content = Buffer.alloc(32 + o.extents.length * 16 + pages * 4 + 4);
  content.write(o.magic ?? 'HFRAMIX1', 'latin1');
  content.writeUInt32LE(o.pageSize ?? 4096, 8);
  content.writeUInt32LE(o.extentCount ?? o.extents.length, 12);
  content.writeBigUInt64LE(BigInt(o.ramBytes), 16);
  content.writeBigUInt64LE(BigInt(o.pageCount ?? pages), 24);
  o.extents.forEach((extent, i) => {
    content.writeBigUInt64LE(BigInt(extent.firstPage), 32 + i * 16);
    content.writeUInt32LE(extent.pages, 40 + i * 16);
    content.writeUInt32LE(extent.layer, 44 + i * 16);
  });
  for (let i = 0; i < pages; i++) {
    content.writeUInt32LE(o.checksum ?? emptyPageChecksum, 32 + o.extents.length * 16 + i * 4);
  }
  o.spoil?.(content);
  content.writeUInt32LE(crc32c(content.subarray(0, -4)), content.length - 4);
  return content;
}

export const writeIndex = (path: string, o: ForgedIndex): Promise<void> => writeFile(path, forgeIndex(o));

/** Indexes that are wrong in one way each, for a RAM of `ramBytes` and one layer. */
export function wrongIndexes(ramBytes: number): Readonly<Record<string, Buffer>> {
  const total = ramBytes / 4096;
  const one = { firstPage: 1, pages: 2, layer: 0 };
  const forge = (o: Partial<ForgedIndex>): Buffer => forgeIndex({ extents: [one], ramBytes, ...o });
  const good = forge({});
  const flipped = Buffer.from(good);
  flipped.writeUInt8(flipped.readUInt8(40) ^ 1, 40);
  return {
    'empty file': Buffer.alloc(0),
    'only a header': good.subarray(0, 32),
    'last byte missing': good.subarray(0, -1),
    'one byte more': Buffer.concat([good, Buffer.alloc(1)]),
    'one bit flipped': flipped,
    'wrong magic': forge({ magic: 'HFRAMIX2' }),
    'wrong page size': forge({ pageSize: 8192 }),
    'more pages than RAM': forge({ pageCount: total + 1 }),
    'page count of another image': forge({ pageCount: 1 }),
    'more extents than the file': forge({ extentCount: 0xffffffff }),
    'extent without pages': forge({ extents: [{ ...one, pages: 0 }, one] }),
    'extent behind the RAM': forge({ extents: [{ ...one, firstPage: total }] }),
    'extent across the end': forge({ extents: [{ ...one, firstPage: total - 1 }] }),
    'first page that wraps': forge({ spoil: (b) => b.writeBigUInt64LE(0xffffffffffffffffn, 32) }),
    overlap: forge({ extents: [one, { ...one, firstPage: 2 }] }),
    'wrong order': forge({ extents: [{ ...one, firstPage: 9 }, one] }),
    'enormous page count': forge({ spoil: (b) => b.writeBigUInt64LE(0x4000000000000000n, 24) }),
  };
}
