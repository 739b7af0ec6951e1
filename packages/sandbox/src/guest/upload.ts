import type { HoldfastError } from '@holdfast/core';
import type { GuestConnection } from './connection.ts';
import type { OutboundChannel } from './outbound-channel.ts';
import { type GuestStream, shapes } from './stream.ts';
import { Tag } from './tags.ts';
import type { FieldsBuilder } from './tlv.ts';

export type UploadBody = AsyncIterable<Uint8Array> | Uint8Array;

/**
 * Sends a request, then `body` and EOF on channel 0. Nothing is waited for but credit, so a small body travels in the
 * same write as its request. When the guest refuses, the rest of the body is not read; when the body fails, the
 * operation is cancelled and the body's error rejects.
 */
export function upload(
  connection: GuestConnection,
  fields: FieldsBuilder,
  body: UploadBody,
): Promise<{ size: number }> {
  return new Promise((resolve, reject) => {
    let stopBody = (): void => undefined;
    const stream = connection.open(fields, shapes.upload, {
      result(answer) {
        resolve({ size: answer.requireNumber(Tag.size) });
        stopBody();
      },
      failed(error: HoldfastError) {
        reject(error);
        stopBody();
      },
    });
    const { outbound } = stream;
    if (outbound === null) return;
    if (body instanceof Uint8Array) {
      // A rejected write means that the stream ended, which the handler above reports.
      outbound.write(body).catch(() => undefined);
      outbound.end();
      return;
    }
    const iterator = body[Symbol.asyncIterator]();
    stopBody = () => void iterator.return?.().catch(() => undefined);
    pump(iterator, stream, outbound).catch((error: unknown) => {
      reject(error);
      stream.cancel();
    });
  });
}

async function pump(
  iterator: AsyncIterator<Uint8Array>,
  stream: GuestStream,
  outbound: OutboundChannel,
): Promise<void> {
  for (;;) {
    const next = await iterator.next();
    if (!stream.open) return;
    if (next.done === true) break;
    await outbound.write(next.value);
  }
  outbound.end();
}
