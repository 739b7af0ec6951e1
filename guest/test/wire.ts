import { connect, type Socket } from 'node:net';

/** The tests' own encoder and decoder, independent of the product's: frames of guest/protocol.md. */
export const type = {
  hello: 1,
  open: 2,
  data: 3,
  eof: 4,
  credit: 5,
  ctl: 6,
  event: 7,
  result: 8,
  error: 9,
  cancel: 10,
} as const;

export type Field = readonly [tag: number, value: number | bigint | string | Uint8Array];

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(kind: number, channel: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(12 + payload.length);
  bytes.set([0xa5, kind, channel, 0]);
  bytes.writeUInt32LE(stream, 4);
  bytes.writeUInt32LE(payload.length, 8);
  bytes.set(payload, 12);
  return bytes;
}

function value(v: Field[1]): Buffer {
  if (typeof v === 'string') return Buffer.from(v);
  if (typeof v !== 'number' && typeof v !== 'bigint') return Buffer.from(v);
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(v));
  return bytes;
}

export function fields(...list: readonly Field[]): Buffer {
  return Buffer.concat(
    list.flatMap(([tag, v]) => {
      const bytes = value(v);
      const head = Buffer.alloc(6);
      head.writeUInt16LE(tag);
      head.writeUInt32LE(bytes.length, 2);
      return [head, bytes];
    }),
  );
}

export const open = (stream: number, ...list: readonly Field[]): Buffer => frame(type.open, 0, stream, fields(...list));
export const hello = (nonce: Uint8Array = Buffer.alloc(16, 7)): Buffer =>
  frame(type.hello, 0, 0, fields([2, 1], [3, nonce]));

export function credit(channel: number, stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(bytes);
  return frame(type.credit, channel, stream, payload);
}

/** All values of a tag, in order. */
export function values(payload: Buffer, wanted: number): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < payload.length; ) {
    const end = at + 6 + payload.readUInt32LE(at + 2);
    if (payload.readUInt16LE(at) === wanted) found.push(payload.subarray(at + 6, end));
    at = end;
  }
  return found;
}

export const text = (f: Frame, tag: number): string | null => values(f.payload, tag)[0]?.toString() ?? null;
export function number(f: Frame, tag: number): number | null {
  const bytes = values(f.payload, tag)[0];
  return bytes === undefined ? null : Number(bytes.readBigInt64LE());
}
/** The CODE of an ERROR frame, or what else it is. */
export const code = (f: Frame): string | null => (f.type === type.error ? text(f, 7) : `frame of type ${f.type}`);

export interface Answer {
  readonly last: Frame;
  readonly events: readonly Frame[];
  /** Bytes by channel. */
  readonly output: readonly [Buffer, Buffer, Buffer];
}

/** How long any single answer may take before the test fails instead of hanging. */
const patienceMs = 20_000;

export class Wire {
  readonly #socket: Socket;
  #left: Buffer = Buffer.alloc(0);
  #frames: Frame[] = [];
  #wake: (() => void) | null = null;
  #closed = false;
  #nextStream = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
    socket.on('error', () => undefined);
  }

  /** Connects; with a session unless told otherwise. */
  static async connect(path: string, session = true): Promise<Wire> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const wire = new Wire(socket);
    if (session) await wire.begin();
    return wire;
  }

  async begin(): Promise<Frame> {
    this.send(hello());
    for (;;) {
      const f = await this.next();
      if (f.type === type.hello) {
        this.#nextStream = 1;
        return f;
      }
    }
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(bytes));
  }

  /** Sends without waiting in memory: resolves when the kernel has taken it. */
  async sendAll(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  newStream(): number {
    const stream = this.#nextStream;
    this.#nextStream += 2;
    return stream;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  /** The next frame; throws when the connection ends or nothing comes. */
  async next(): Promise<Frame> {
    for (;;) {
      const f = this.#frames.shift();
      if (f !== undefined) return f;
      if (this.#closed) throw new Error('the agent closed the connection');
      await this.#arrival();
    }
  }

  /** Reads a stream to its end, returning credit for what comes. Frames of other streams are dropped. */
  async finish(stream: number): Promise<Answer> {
    const events: Frame[] = [];
    const output: [Buffer[], Buffer[], Buffer[]] = [[], [], []];
    for (;;) {
      const f = await this.next();
      if (f.stream !== stream) continue;
      if (f.type === type.data) {
        output[f.channel]?.push(f.payload);
        this.send(credit(f.channel, stream, f.payload.length));
      } else if (f.type === type.event) events.push(f);
      else if (f.type === type.result || f.type === type.error) {
        return {
          last: f,
          events,
          output: [Buffer.concat(output[0]), Buffer.concat(output[1]), Buffer.concat(output[2])],
        };
      }
    }
  }

  /** Opens a stream with these fields (OP first), sends the body if there is one, and reads it to its end. */
  async call(list: readonly Field[], body?: Uint8Array): Promise<Answer> {
    const stream = this.newStream();
    this.send(open(stream, ...list));
    if (body !== undefined) {
      for (let at = 0; at < body.length; at += 50_000) {
        this.send(frame(type.data, 0, stream, body.subarray(at, at + 50_000)));
      }
      this.send(frame(type.eof, 0, stream));
    }
    return this.finish(stream);
  }

  #arrival(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('the agent does not answer')), patienceMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = null;
        resolve();
      };
    });
  }

  #take(chunk: Buffer): void {
    this.#left = this.#left.length === 0 ? chunk : Buffer.concat([this.#left, chunk]);
    for (;;) {
      if (this.#left.length < 12) break;
      const end = 12 + this.#left.readUInt32LE(8);
      if (this.#left.length < end) break;
      this.#frames.push({
        type: this.#left.readUInt8(1),
        channel: this.#left.readUInt8(2),
        stream: this.#left.readUInt32LE(4),
        payload: this.#left.subarray(12, end),
      });
      this.#left = this.#left.subarray(end);
    }
    if (this.#frames.length > 0) this.#wake?.();
  }
}
