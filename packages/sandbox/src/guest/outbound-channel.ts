import type { HoldfastError } from '@holdfast/core';
import { stdinClosedError } from './errors.ts';
import { guestLimits } from './limits.ts';
import { ProtocolViolation } from './violation.ts';

/** What a channel sends through. */
export interface OutboundLink {
  /** False while the transport is full; then `pump` is called again when it has drained. */
  ready(waiting: OutboundChannel): boolean;
  sendData(channel: number, bytes: Uint8Array): void;
  sendEof(channel: number): void;
}

interface PendingWrite {
  readonly bytes: Uint8Array;
  sent: number;
  resolve(): void;
  reject(error: HoldfastError): void;
}

/** One channel towards the guest: writes wait for credit and for the transport, in order. */
export class OutboundChannel {
  readonly #link: OutboundLink;
  readonly #channel: number;
  #credit: number = guestLimits.windowBytes;
  #writes: PendingWrite[] = [];
  #ending = false;
  #eofSent = false;
  #closed: HoldfastError | null = null;
  #sentBytes = 0;

  constructor(link: OutboundLink, channel: number) {
    this.#link = link;
    this.#channel = channel;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** True when EOF was sent. */
  get finished(): boolean {
    return this.#eofSent;
  }

  /**
   * Resolves when all bytes were handed to the transport; the caller may then reuse them. Rejects with
   * `guest.stdin_closed` after `end` or when the stream has ended, and with the connection's error when that broke.
   */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    if (this.#ending) return Promise.reject(stdinClosedError());
    if (bytes.byteLength === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#writes.push({ bytes, sent: 0, resolve, reject });
      if (this.#writes.length === 1) this.pump();
    });
  }

  /** Sends EOF after all writes so far. Does nothing the second time. */
  end(): void {
    if (this.#ending || this.#closed !== null) return;
    this.#ending = true;
    if (this.#writes.length === 0) this.#sendEof();
  }

  /** Credit from the guest. */
  grant(bytes: number): void {
    if (this.#credit + bytes > guestLimits.maxCreditBytes) throw new ProtocolViolation('credit beyond its limit');
    this.#credit += bytes;
    if (this.#writes.length > 0) this.pump();
  }

  /** The stream is over: nothing can be sent any more. */
  close(error: HoldfastError): void {
    if (this.#closed !== null) return;
    this.#closed = error;
    const writes = this.#writes;
    this.#writes = [];
    for (const write of writes) write.reject(error);
  }

  /** Sends what credit and transport allow. */
  pump(): void {
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      while (write.sent < write.bytes.byteLength) {
        if (this.#credit === 0 || !this.#link.ready(this)) return;
        const length = Math.min(write.bytes.byteLength - write.sent, this.#credit, guestLimits.maxPayloadBytes);
        const part = write.bytes.subarray(write.sent, write.sent + length);
        write.sent += length;
        this.#credit -= length;
        this.#sentBytes += length;
        this.#link.sendData(this.#channel, part);
      }
      this.#writes.shift();
      write.resolve();
    }
    if (this.#ending && this.#closed === null) this.#sendEof();
  }

  #sendEof(): void {
    if (this.#eofSent) return;
    this.#eofSent = true;
    this.#link.sendEof(this.#channel);
  }
}
