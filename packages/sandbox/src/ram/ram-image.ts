import type { FileHandle } from 'node:fs/promises';
import { HoldfastError } from '@holdfast/core';
import { crc32c } from './crc32c.ts';
import { openUntrusted, type RamExtent, ramPageBytes, readRamIndex } from './ram-index.ts';

const pagesAtOnce = 256;

/**
 * Checks a whole RAM image on disk: the index and every page it names. `layers[n]` is the data file of layer n. Resolves to the
 * number of pages checked. Throws `ram.corrupt` with `page` or `reason` in the details, `signal.reason` when aborted, and the
 * system's error when a file cannot be opened. Reads in pieces of 1 MiB and lets others run in between.
 */
export async function verifyRamImage(index: string, layers: readonly string[], signal?: AbortSignal): Promise<number> {
  const { extents, checksums, layerCount, pageCount } = await readRamIndex(index);
  if (layerCount > layers.length) {
    throw new HoldfastError('ram.corrupt', 'The RAM index names a layer that does not exist.', {
      reason: `layer ${layerCount - 1}`,
    });
  }
  const files: FileHandle[] = [];
  try {
    for (const path of layers) files.push((await openUntrusted(path)).file);
    const scratch = Buffer.alloc(pagesAtOnce * ramPageBytes);
    let done = 0;
    for (const extent of extents) {
      const file = files[extent.layer];
      if (file === undefined) throw new HoldfastError('internal.unexpected', 'A layer was checked and is gone.');
      await verifyExtent(file, extent, checksums.subarray(done, done + extent.pages), scratch, signal);
      done += extent.pages;
    }
    return pageCount;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

async function verifyExtent(
  file: FileHandle,
  extent: RamExtent,
  checksums: Uint32Array,
  scratch: Buffer,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let done = 0; done < extent.pages; done += pagesAtOnce) {
    signal?.throwIfAborted();
    const count = Math.min(pagesAtOnce, extent.pages - done);
    const whole = Math.floor(
      (await readFully(file, scratch.subarray(0, count * ramPageBytes), (extent.firstPage + done) * ramPageBytes)) /
        ramPageBytes,
    );
    for (let i = 0; i < count; i++) {
      const page = scratch.subarray(i * ramPageBytes, (i + 1) * ramPageBytes);
      if (i < whole && crc32c(page) === checksums[done + i]) continue;
      throw new HoldfastError('ram.corrupt', undefined, { page: extent.firstPage + done + i, layer: extent.layer });
    }
  }
}

/** Bytes read: fewer than asked only at the end of the file. */
async function readFully(file: FileHandle, into: Buffer, position: number): Promise<number> {
  let held = 0;
  while (held < into.length) {
    const { bytesRead } = await file.read(into, held, into.length - held, position + held);
    if (bytesRead === 0) break;
    held += bytesRead;
  }
  return held;
}
