import type { Duplex } from 'node:stream';
import { HoldfastError } from '@holdfast/core';
import { disconnectedError, guestError, markHandled, stdinClosedError, violationError } from './errors.ts';
import { decodeCredit, type Frame, FrameReader } from './frame.ts';
import { type GuestHello, HelloScan, helloFrame, nonceBytes, parseHello } from './hello.ts';
import { guestLimits } from './limits.ts';
import { GuestStream, type StreamHandler, type StreamShape, shapes } from './stream.ts';
import { FrameType, Op, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';
import { Transport, type TransportOwner } from './transport.ts';
import { ProtocolViolation } from './violation.ts';

export interface ConnectOptions {
  /** True when an earlier session on this port may have ended in the middle of a frame. */
  readonly takeover: boolean;
  /** Until the guest's HELLO. */
  readonly timeoutMs: number;
  /** 16 random bytes. */
  readonly random: () => Uint8Array;
}

export interface GuestClosed {
  readonly reason: 'closed' | 'protocol_error' | 'error';
  readonly detail: string;
}

/** Takes a connection that the guest's listener accepted; `open` makes its stream. */
export type Acceptor = (open: (handler: StreamHandler) => GuestStream) => void;

const takeoverZeroes = Buffer.alloc(guestLimits.takeoverZeroBytes);

/** What the connection holds for the guest, for tests and diagnosis. */
export interface ConnectionLoad {
  readonly streams: number;
  readonly guestStreams: number;
  readonly listeners: number;
  readonly queuedBytes: number;
}

/**
 * The session with one guest: HELLO, then many streams over one byte stream. All that the guest sends is checked; the
 * first violation closes the connection and rejects all that is pending with `guest.protocol_error`.
 */
export class GuestConnection implements TransportOwner {
  readonly ready: Promise<GuestHello>;
  readonly closed: Promise<GuestClosed>;
  readonly #transport: Transport;
  readonly #reader = new FrameReader((frame) => this.#dispatch(frame));
  readonly #streams = new Map<number, GuestStream>();
  readonly #acceptors = new Map<number, Acceptor>();
  readonly #nonce: Uint8Array;
  readonly #timer: NodeJS.Timeout;
  readonly #resolveReady: (hello: GuestHello) => void;
  readonly #rejectReady: (error: HoldfastError) => void;
  readonly #resolveClosed: (closed: GuestClosed) => void;
  #scan: HelloScan | null;
  #hello: GuestHello | null = null;
  #error: HoldfastError | null = null;
  #lastHostId = -1;
  #lastGuestId = 0;
  #guestStreams = 0;

  constructor(stream: Duplex, options: ConnectOptions) {
    const ready = Promise.withResolvers<GuestHello>();
    const closed = Promise.withResolvers<GuestClosed>();
    this.ready = markHandled(ready.promise);
    this.closed = closed.promise;
    this.#resolveReady = ready.resolve;
    this.#rejectReady = ready.reject;
    this.#resolveClosed = closed.resolve;
    this.#nonce = options.random();
    if (this.#nonce.byteLength !== nonceBytes) throw new HoldfastError('guest.bad_request', 'A nonce has 16 bytes.');
    this.#scan = new HelloScan(this.#nonce);
    this.#timer = setTimeout(() => this.#timedOut(), options.timeoutMs);
    this.#transport = new Transport(stream, this);
    if (options.takeover) this.#transport.send(takeoverZeroes);
    this.#transport.send(helloFrame(this.#nonce));
  }

  /** The guest's HELLO; throws `guest.disconnected` before it has come. */
  get hello(): GuestHello {
    if (this.#hello === null) throw this.#error ?? disconnectedError('the guest has not answered yet');
    return this.#hello;
  }

  get load(): ConnectionLoad {
    let queuedBytes = 0;
    for (const stream of this.#streams.values()) queuedBytes += stream.queuedBytes;
    return {
      streams: this.#streams.size,
      guestStreams: this.#guestStreams,
      listeners: this.#acceptors.size,
      queuedBytes,
    };
  }

  /**
   * Opens a stream. Before HELLO was answered the request waits right behind it in the same write. Throws the
   * connection's error once that is closed, `guest.too_many_streams`, and `guest.busy` when the guest does not read.
   */
  open(fields: FieldsBuilder, shape: StreamShape, handler: StreamHandler): GuestStream {
    if (this.#error !== null) throw this.#error;
    if (this.#streams.size >= guestLimits.maxStreams) throw new HoldfastError('guest.too_many_streams');
    this.#transport.checkBacklog();
    const id = this.#lastHostId + 2;
    if (id > 0xffff_ffff) throw disconnectedError('all stream ids are used up');
    this.#lastHostId = id;
    const stream = new GuestStream(id, shape, handler, this.#transport);
    this.#streams.set(id, stream);
    this.#transport.send(fields.frame(FrameType.open, id));
    return stream;
  }

  /** One question, one answer. */
  request<T>(fields: FieldsBuilder, parse: (answer: Fields) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.open(fields, shapes.request, { result: (answer) => resolve(parse(answer)), failed: reject });
    });
  }

  addAcceptor(listener: number, acceptor: Acceptor): void {
    if (this.#acceptors.has(listener)) throw new ProtocolViolation('a listener id appears twice');
    if (this.#acceptors.size >= guestLimits.maxListeners) throw new ProtocolViolation('too many listeners');
    this.#acceptors.set(listener, acceptor);
  }

  removeAcceptor(listener: number): void {
    this.#acceptors.delete(listener);
  }

  /** Ends a stream that the guest opened: with RESULT, or with ERROR when a code is given. */
  finish(stream: GuestStream, code: string | null): void {
    if (!stream.open) return;
    this.#answer(stream.id, code);
    this.#remove(stream, null, stdinClosedError());
  }

  close(): void {
    this.#fail('closed', 'it was closed on this side', disconnectedError('it was closed on this side'));
  }

  received(chunk: Buffer): void {
    if (this.#error !== null) return;
    try {
      if (this.#scan === null) this.#reader.push(chunk);
      else {
        const rest = this.#scan.push(chunk);
        if (rest === null) return;
        this.#scan = null;
        this.#reader.push(rest);
      }
    } catch (error) {
      this.#failWith(error);
    }
  }

  lost(detail: string, failed: boolean): void {
    this.#fail(failed ? 'error' : 'closed', detail, disconnectedError(detail));
  }

  overflowed(): void {
    this.#failWith(new ProtocolViolation('the guest does not read'));
  }

  #timedOut(): void {
    this.#fail('error', 'no HELLO in time', new HoldfastError('guest.timeout'));
  }

  #failWith(error: unknown): void {
    if (error instanceof ProtocolViolation) this.#fail('protocol_error', error.message, violationError(error.message));
    else if (error instanceof HoldfastError) this.#fail('error', error.message, error);
    else this.#fail('error', 'it failed', new HoldfastError('internal.unexpected', undefined, {}, { cause: error }));
  }

  #fail(reason: GuestClosed['reason'], detail: string, error: HoldfastError): void {
    if (this.#error !== null) return;
    this.#error = error;
    clearTimeout(this.#timer);
    this.#reader.stop();
    this.#transport.close();
    this.#acceptors.clear();
    for (const stream of this.#streams.values()) {
      this.#remove(stream, error, error);
      stream.handler.failed(error);
    }
    this.#rejectReady(error);
    this.#resolveClosed({ reason, detail });
  }

  #remove(stream: GuestStream, error: HoldfastError | null, outboundError: HoldfastError): void {
    if (this.#streams.delete(stream.id) && stream.id % 2 === 0) this.#guestStreams -= 1;
    stream.end(error, outboundError);
  }

  #dispatch(frame: Frame): void {
    if (this.#hello === null) this.#greet(frame);
    else if (frame.type === FrameType.open) this.#accept(frame);
    else {
      const stream = this.#streams.get(frame.stream);
      if (stream === undefined) this.#checkEnded(frame);
      else if (frame.type === FrameType.data) stream.receiveData(frame.channel, frame.payload);
      else if (frame.type === FrameType.eof) stream.receiveEof(frame.channel);
      else if (frame.type === FrameType.credit) stream.receiveCredit(frame.channel, decodeCredit(frame.payload));
      else if (stream.id % 2 === 1) this.#respond(stream, frame);
      else if (frame.type === FrameType.cancel) this.#cancelled(stream);
      else throw new ProtocolViolation('a frame that only the responder may send');
    }
  }

  #greet(frame: Frame): void {
    this.#hello = parseHello(new Fields(frame.payload), this.#nonce);
    clearTimeout(this.#timer);
    this.#resolveReady(this.#hello);
  }

  /** Frames of a stream that has ended may have been in flight; others name a stream that never was, or the session. */
  #checkEnded(frame: Frame): void {
    const ended = frame.stream <= (frame.stream % 2 === 1 ? this.#lastHostId : this.#lastGuestId);
    if (frame.stream === 0 && frame.type === FrameType.error) {
      throw new ProtocolViolation(`the guest gave up: ${guestError(new Fields(frame.payload)).message}`);
    }
    if (!ended || frame.stream === 0) throw new ProtocolViolation('a frame for a stream that was never opened');
  }

  #respond(stream: GuestStream, frame: Frame): void {
    const fields = new Fields(frame.payload);
    if (frame.type === FrameType.event) {
      if (stream.handler.event === undefined) throw new ProtocolViolation('EVENT in an operation without events');
      stream.handler.event(fields);
    } else if (frame.type === FrameType.result) {
      stream.handler.result(fields);
      this.#remove(stream, null, stdinClosedError());
    } else if (frame.type === FrameType.error) {
      const error = guestError(fields);
      this.#remove(stream, error, error);
      stream.handler.failed(error);
    } else throw new ProtocolViolation('a frame that only the initiator may send');
  }

  #cancelled(stream: GuestStream): void {
    const error = new HoldfastError('guest.cancelled');
    this.#answer(stream.id, 'cancelled');
    this.#remove(stream, error, error);
    stream.handler.failed(error);
  }

  #accept(frame: Frame): void {
    const id = frame.stream;
    if (id % 2 === 1 || id <= this.#lastGuestId) throw new ProtocolViolation('OPEN with a wrong stream id');
    this.#lastGuestId = id;
    const fields = new Fields(frame.payload, true);
    const known = fields.u64(Tag.op) === BigInt(Op.accepted);
    const acceptor = known ? this.#acceptors.get(fields.requireNumber(Tag.listener)) : undefined;
    const full = this.#guestStreams >= guestLimits.maxGuestStreams || this.#streams.size >= guestLimits.maxStreams;
    if (acceptor === undefined) this.#answer(id, known ? 'connection_refused' : 'unknown_op');
    else if (full) this.#answer(id, 'too_many_streams');
    else {
      acceptor((handler) => {
        const stream = new GuestStream(id, shapes.socket, handler, this.#transport);
        this.#streams.set(id, stream);
        this.#guestStreams += 1;
        return stream;
      });
    }
  }

  /** RESULT or ERROR of a stream that the guest opened. */
  #answer(id: number, code: string | null): void {
    const fields = new FieldsBuilder();
    if (code === null) this.#transport.send(fields.frame(FrameType.result, id));
    else this.#transport.send(fields.text(Tag.code, code).text(Tag.message, code).frame(FrameType.error, id));
  }
}
