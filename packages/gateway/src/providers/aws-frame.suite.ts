import { crc32 } from 'node:zlib';

/** A frame of `application/vnd.amazon.eventstream`, as AWS writes it; for tests. */
export const awsFrame = (headers: Readonly<Record<string, string>>, payload: string): Buffer => {
  const parts = Object.entries(headers).map(([name, value]) => {
    const text = Buffer.from(value);
    const length = Buffer.alloc(3);
    length.writeUInt8(7, 0);
    length.writeUInt16BE(text.length, 1);
    return Buffer.concat([Buffer.from([Buffer.byteLength(name)]), Buffer.from(name), length, text]);
  });
  const head = Buffer.concat(parts);
  const body = Buffer.from(payload);
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(12 + head.length + body.length + 4, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const frame = Buffer.concat([prelude, head, body, Buffer.alloc(4)]);
  frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - 4)), frame.length - 4);
  return frame;
};
