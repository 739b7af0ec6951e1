import { Duplex } from 'node:stream';
import { type Frame, FrameReader } from './frame.ts';
import { FrameType, protocolVersion, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

export interface PeerScript {
  /** Each frame after HELLO; its payload may be kept. */
  readonly onFrame?: (frame: Frame, peer: ScriptedPeer) => void;
  /** What is sent for HELLO; the right answer unless told. */
  readonly greet?: (nonce: Buffer, peer: ScriptedPeer) => void;
  /** True to take nothing of what the host writes after HELLO. */
  readonly deaf?: boolean;
}

/** The guest's end of an in-memory byte stream, for tests: it does what its script says, right or wrong. */
export class ScriptedPeer {
  /** The host's end. */
  readonly host: Duplex;
  /** All frames after HELLO, oldest first. */
  readonly frames: Frame[] = [];
  readonly #script: PeerScript;
  readonly #reader = new FrameReader((frame) => this.#receive(frame));
  /** Calls of the transport's write, that is what would be system calls. */
  writes = 0;

  constructor(script: PeerScript = {}) {
    this.#script = script;
    const take = (bytes: Buffer, callback: () => void): void => {
      if (script.deaf === true && this.writes > 0) return;
      this.writes += 1;
      this.#reader.push(bytes);
      callback();
    };
    this.host = new Duplex({
      read: () => undefined,
      write: (bytes: Buffer, _encoding, callback) => take(bytes, callback),
      writev: (chunks, callback) => take(Buffer.concat(chunks.map(({ chunk }) => chunk)), callback),
    });
  }

  /** Sends in one chunk. */
  send(...frames: Uint8Array[]): void {
    if (!this.host.destroyed) this.host.push(Buffer.concat(frames));
  }

  of(type: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type);
  }

  #receive(received: Frame): void {
    const frame = { ...received, payload: Buffer.from(received.payload) };
    if (frame.type === FrameType.hello) {
      const nonce = new Fields(frame.payload).bytes(Tag.nonce) ?? Buffer.alloc(0);
      if (this.#script.greet === undefined) this.send(helloAnswer(nonce));
      else this.#script.greet(nonce, this);
      return;
    }
    this.frames.push(frame);
    this.#script.onFrame?.(frame, this);
  }
}

export const helloAnswer = (nonce: Uint8Array): Buffer =>
  new FieldsBuilder()
    .number(Tag.version, protocolVersion)
    .bytes(Tag.nonce, nonce)
    .text(Tag.agent, 'scripted')
    .text(Tag.bootId, 'boot')
    .text(Tag.features, 'test')
    .frame(FrameType.hello, 0);
