import { checkPath, request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { markHandled } from './errors.ts';
import { bytesOf } from './inbound-queue.ts';
import { shapes } from './stream.ts';
import { Channel, Op, Tag } from './tags.ts';
import { type UploadBody, upload } from './upload.ts';

/** A ustar/pax stream; it is complete once `done` has resolved. Leaving the loop early cancels. */
export interface GuestTar {
  readonly body: AsyncIterable<Uint8Array>;
  readonly done: Promise<void>;
}

export function tarOut(connection: GuestConnection, path: string): GuestTar {
  const done = Promise.withResolvers<void>();
  const stream = connection.open(request(Op.tarOut).text(Tag.path, checkPath(path)), shapes.download, {
    result: () => done.resolve(),
    failed: done.reject,
  });
  return { body: bytesOf(stream.queue(Channel.main)), done: markHandled(done.promise) };
}

/** Unpacks a tar stream into a directory, made if missing; all entries get the owner given. */
export async function tarIn(
  connection: GuestConnection,
  path: string,
  body: UploadBody,
  owner: { readonly uid?: number; readonly gid?: number },
): Promise<{ size: number }> {
  const fields = request(Op.tarIn)
    .text(Tag.path, checkPath(path))
    .number(Tag.uid, owner.uid)
    .number(Tag.gid, owner.gid);
  return upload(connection, fields, body);
}
