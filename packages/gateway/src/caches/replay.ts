import type { StoredAnswer } from './cache.ts';

const lf = 0x0a;
const cr = 0x0d;

/** Behind the blank line that ends the event at `from`, or the end. */
const eventEnd = (body: Uint8Array, from: number): number => {
  let at = from;
  for (;;) {
    const line = body.indexOf(lf, at);
    if (line === -1) return body.length;
    const next = body[line + 1] === cr ? line + 2 : line + 1;
    if (body[next] === lf) return next + 1;
    at = line + 1;
  }
};

/**
 * The writes that send a stored answer: one for a document, one for each event of a stream, so that a replayed stream
 * arrives in the pieces that it was made of.
 */
export function* replayOf({ body, streamed }: StoredAnswer): Generator<Uint8Array> {
  if (!streamed) {
    yield body;
    return;
  }
  for (let at = 0; at < body.length; ) {
    const end = eventEnd(body, at);
    yield body.subarray(at, end);
    at = end;
  }
}
