import type { HoldfastError } from '@holdfast/core';
import { encodeCredit, encodeFrame } from './frame.ts';
import { InboundQueue, type InboundQueueOwner } from './inbound-queue.ts';
import { guestLimits } from './limits.ts';
import { OutboundChannel, type OutboundLink } from './outbound-channel.ts';
import { Channel, FrameType } from './tags.ts';
import type { Fields, FieldsBuilder } from './tlv.ts';
import type { Transport } from './transport.ts';
import { ProtocolViolation } from './violation.ts';

/** Which bytes an operation moves. */
export interface StreamShape {
  /** Channels on which the guest sends. */
  readonly receives: readonly number[];
  /** True when this side sends on channel 0. */
  readonly sends: boolean;
  /** True when the order between the channels matters: all share one queue. */
  readonly merged: boolean;
}

export const shapes = {
  request: { receives: [], sends: false, merged: false },
  download: { receives: [Channel.main], sends: false, merged: false },
  upload: { receives: [], sends: true, merged: false },
  socket: { receives: [Channel.main], sends: true, merged: false },
  exec: { receives: [Channel.stdout, Channel.stderr], sends: true, merged: false },
  log: { receives: [Channel.stdout, Channel.stderr], sends: false, merged: true },
} as const satisfies Record<string, StreamShape>;

/** What an operation does with the frames of its stream. Throwing `ProtocolViolation` closes the connection. */
export interface StreamHandler {
  /** Absent when the operation has no events. */
  event?(fields: Fields): void;
  result(fields: Fields): void;
  /** ERROR, or the end of the connection. */
  failed(error: HoldfastError): void;
  /** EOF was sent or received. */
  halfClosed?(): void;
}

interface InboundChannel {
  readonly queue: InboundQueue;
  /** What the guest may still send. */
  window: number;
  /** Consumed and not returned as credit yet. */
  owed: number;
  eof: boolean;
}

/** One open stream: its channels with their credit, and the operation that it belongs to. */
export class GuestStream implements InboundQueueOwner, OutboundLink {
  readonly id: number;
  readonly handler: StreamHandler;
  readonly outbound: OutboundChannel | null;
  readonly #transport: Transport;
  readonly #inbound: (InboundChannel | undefined)[] = [];
  #open = true;
  #receivedBytes = 0;
  #cancelled = false;

  constructor(id: number, shape: StreamShape, handler: StreamHandler, transport: Transport) {
    this.id = id;
    this.handler = handler;
    this.#transport = transport;
    this.outbound = shape.sends ? new OutboundChannel(this, Channel.main) : null;
    const shared = shape.merged ? new InboundQueue(this) : null;
    for (const channel of shape.receives) {
      const queue = shared ?? new InboundQueue(this);
      this.#inbound[channel] = { queue, window: guestLimits.windowBytes, owed: 0, eof: false };
    }
  }

  get open(): boolean {
    return this.#open;
  }

  /** Payload of all DATA so far. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** True when the guest's EOF came on all its channels. */
  get inboundEnded(): boolean {
    return this.#inbound.every((channel) => channel?.eof !== false);
  }

  get queuedBytes(): number {
    const queues = new Set(this.#inbound.flatMap((channel) => (channel === undefined ? [] : [channel.queue])));
    return [...queues].reduce((sum, queue) => sum + queue.queuedBytes, 0);
  }

  queue(channel: number): InboundQueue {
    return this.#channel(channel).queue;
  }

  receiveData(channel: number, payload: Buffer): void {
    const inbound = this.#channel(channel);
    if (inbound.eof) throw new ProtocolViolation('DATA after EOF');
    if (payload.length > inbound.window) throw new ProtocolViolation('DATA beyond its credit');
    inbound.window -= payload.length;
    this.#receivedBytes += payload.length;
    inbound.queue.push(channel, payload);
  }

  receiveEof(channel: number): void {
    const inbound = this.#channel(channel);
    if (inbound.eof) throw new ProtocolViolation('EOF twice');
    inbound.eof = true;
    const shared = this.#inbound.some((other) => other?.queue === inbound.queue && !other.eof);
    if (!shared) inbound.queue.end(null);
    this.handler.halfClosed?.();
  }

  receiveCredit(channel: number, bytes: number): void {
    if (this.outbound === null || channel !== Channel.main) throw new ProtocolViolation('CREDIT on a wrong channel');
    this.outbound.grant(bytes);
  }

  /** A control message to the operation; dropped when it has ended. Throws `guest.busy`. */
  control(fields: FieldsBuilder): void {
    if (!this.#open) return;
    this.#transport.checkBacklog();
    this.#transport.send(fields.frame(FrameType.ctl, this.id));
  }

  /** Asks the guest to end the stream soon. */
  cancel(): void {
    if (!this.#open || this.#cancelled) return;
    this.#cancelled = true;
    this.#transport.send(encodeFrame(FrameType.cancel, 0, this.id));
  }

  /** The stream is over: its queues end, with `error` after what waits in them; writes fail with `outboundError`. */
  end(error: HoldfastError | null, outboundError: HoldfastError): void {
    this.#open = false;
    for (const inbound of this.#inbound) inbound?.queue.end(error);
    this.outbound?.close(outboundError);
  }

  consumed(channel: number, bytes: number): void {
    const inbound = this.#inbound[channel];
    if (inbound === undefined || inbound.eof || !this.#open) return;
    inbound.owed += bytes;
    if (inbound.owed < guestLimits.creditPortionBytes) return;
    this.#transport.send(encodeCredit(channel, this.id, inbound.owed));
    inbound.window += inbound.owed;
    inbound.owed = 0;
  }

  abandoned(): void {
    this.cancel();
  }

  ready(waiting: OutboundChannel): boolean {
    return this.#transport.ready(waiting);
  }

  sendData(channel: number, bytes: Uint8Array): void {
    // Copied behind its header: one write, and the caller may reuse its buffer.
    this.#transport.send(encodeFrame(FrameType.data, channel, this.id, bytes));
  }

  sendEof(channel: number): void {
    this.#transport.send(encodeFrame(FrameType.eof, channel, this.id));
    this.handler.halfClosed?.();
  }

  #channel(channel: number): InboundChannel {
    const inbound = this.#inbound[channel];
    if (inbound === undefined) throw new ProtocolViolation('bytes on a channel that the operation does not have');
    return inbound;
  }
}
