/** One entry of an initramfs. */
export interface CpioEntry {
  readonly name: string;
  /** Type and permission bits, such as 0o100755 for a program or 0o040755 for a folder. */
  readonly mode: number;
  readonly data?: Uint8Array;
}

/**
 * Packs an initramfs archive in the "newc" format that the kernel unpacks.
 * Source: Documentation/driver-api/early-userspace/buffer-format.rst in the Linux source.
 * Times and owners are zero, so equal input gives equal bytes.
 */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  for (const entry of [...entries, { name: 'TRAILER!!!', mode: 0 }]) {
    const data = entry.data ?? new Uint8Array();
    const fields = [inode++, entry.mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, entry.name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    parts.push(padded(Buffer.from(`${header}${entry.name}\0`, 'latin1')), padded(Buffer.from(data)));
  }
  return Buffer.concat(parts);
}

function padded(bytes: Buffer): Buffer {
  return bytes.length % 4 === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - (bytes.length % 4))]);
}
