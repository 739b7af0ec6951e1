import { Duplex } from 'node:stream';
import { type Frame, FrameReader } from './frame.ts';
import { FrameType, protocolVersion, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

/** The guest's end of an in-memory byte stream, for tests: it greets, then does what the test says, right or wrong. */
export class ScriptedPeer {
  /** The host's end. */
  readonly host: Duplex;
  readonly #onFrame: (frame: Frame, peer: ScriptedPeer) => void;
  readonly #reader = new FrameReader((frame) => this.#receive(frame));
  /** Calls of the transport's write, that is what would be system calls. */
  writes = 0;

  constructor(onFrame: (frame: Frame, peer: ScriptedPeer) => void) {
    this.#onFrame = onFrame;
    const take = (bytes: Buffer): void => {
      this.writes += 1;
      this.#reader.push(bytes);
    };
    this.host = new Duplex({
      read: () => undefined,
      write: (bytes: Buffer, _encoding, callback) => {
        take(bytes);
        callback();
      },
      writev: (chunks, callback) => {
        take(Buffer.concat(chunks.map(({ chunk }) => chunk)));
        callback();
      },
    });
  }

  send(...frames: Uint8Array[]): void {
    if (!this.host.destroyed) this.host.push(Buffer.concat(frames));
  }

  #receive(frame: Frame): void {
    if (frame.type === FrameType.hello)
      this.send(helloAnswer(new Fields(frame.payload).bytes(Tag.nonce) ?? Buffer.alloc(0)));
    else this.#onFrame(frame, this);
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
