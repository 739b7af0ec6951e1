import { HoldfastError } from '@holdfast/core';
import { checkPath, request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { guestLimits } from './limits.ts';
import { shapes } from './stream.ts';
import { Op, Tag } from './tags.ts';
import type { Fields } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

const kinds = { 1: 'created', 2: 'modified', 4: 'removed', 8: 'moved' } as const;
const allKinds = 15;

export interface GuestWatchEvent {
  readonly event: (typeof kinds)[keyof typeof kinds];
  readonly path: string;
  /** Where it was moved to. */
  readonly to: string | null;
}

/** Leaving the loop early cancels. Events that come faster than they are read end it with `guest.watch_overflow`. */
export interface GuestWatch {
  readonly events: AsyncIterable<GuestWatchEvent>;
  cancel(): void;
}

export function watchFiles(
  connection: GuestConnection,
  path: string,
  options: { readonly recursive?: boolean },
): GuestWatch {
  const fields = request(Op.watch)
    .text(Tag.path, checkPath(path))
    .flag(Tag.recursive, options.recursive)
    .number(Tag.watchMask, allKinds);
  const queue = new EventQueue(() => stream.cancel());
  const stream = connection.open(fields, shapes.request, {
    event: (event) => queue.push(parseEvent(event)),
    result: () => queue.end(null),
    // `cancelled` is the answer to this side's own wish, not a failure.
    failed: (error) => queue.end(error.code === 'guest.cancelled' ? null : error),
  });
  return {
    events: queue,
    cancel: () => {
      queue.end(null);
      stream.cancel();
    },
  };
}

type Step = IteratorResult<GuestWatchEvent, undefined>;
const finished: Step = { done: true, value: undefined };

/** Events that wait for the consumer, bounded by count and by the length of their paths. */
class EventQueue implements AsyncIterableIterator<GuestWatchEvent, undefined> {
  readonly #stop: () => void;
  #events: GuestWatchEvent[] = [];
  #textBytes = 0;
  #waiting: PromiseWithResolvers<Step>[] = [];
  #ended = false;
  #error: HoldfastError | null = null;

  constructor(stop: () => void) {
    this.#stop = stop;
  }

  push(event: GuestWatchEvent): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      waiting.resolve({ done: false, value: event });
      return;
    }
    this.#textBytes += event.path.length + (event.to?.length ?? 0);
    if (this.#events.length < guestLimits.maxWatchEvents && this.#textBytes <= guestLimits.maxWatchTextBytes) {
      this.#events.push(event);
      return;
    }
    // What waits is dropped as well: with a gap in it, the consumer has to list the tree anew anyway.
    this.#events = [];
    this.end(new HoldfastError('guest.watch_overflow'));
    this.#stop();
  }

  end(error: HoldfastError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (error === null) one.resolve(finished);
      else one.reject(error);
    }
  }

  next(): Promise<Step> {
    const event = this.#events.shift();
    if (event !== undefined) {
      this.#textBytes -= event.path.length + (event.to?.length ?? 0);
      return Promise.resolve({ done: false, value: event });
    }
    if (this.#error !== null) return Promise.reject(this.#error);
    if (this.#ended) return Promise.resolve(finished);
    const waiting = Promise.withResolvers<Step>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }

  return(): Promise<Step> {
    this.#events = [];
    this.end(null);
    this.#error = null;
    this.#stop();
    return Promise.resolve(finished);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

const isKind = (kind: number): kind is keyof typeof kinds => Object.hasOwn(kinds, kind);

function parseEvent(fields: Fields): GuestWatchEvent {
  const kind = fields.requireNumber(Tag.watchEvent);
  if (!isKind(kind)) throw new ProtocolViolation('a watch has an unknown event');
  return {
    event: kinds[kind],
    path: fields.requireText(Tag.path, guestLimits.maxPathBytes),
    to: fields.text(Tag.to, guestLimits.maxPathBytes),
  };
}
