import { encodeCredit, encodeFrame, type Frame } from './frame.ts';
import { mutate } from './frame-mutation.ts';
import { ScriptedPeer } from './scripted-peer.ts';
import type { SeededRandom } from './seeded-random.ts';
import { FrameType, Op, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

const fields = () => new FieldsBuilder();

/**
 * A guest that answers each request rightly and then breaks what it answers, for the fuzz test: each frame is mutated
 * with a probability of one in `calm`.
 */
export class HostileGuest {
  readonly peer: ScriptedPeer;
  /** Frames that were mutated and sent while the connection stood. */
  mutated = 0;
  honest = false;
  readonly #random: SeededRandom;
  readonly #calm: number;
  readonly #open: number[] = [];
  #guestId = 0;

  constructor(random: SeededRandom, calm: number) {
    this.#random = random;
    this.#calm = calm;
    this.peer = new ScriptedPeer({ onFrame: (frame) => this.#answer(frame) });
  }

  /** Sends what nobody asked for: output, events, credit, connections; for streams that exist or not. */
  act(): void {
    const random = this.#random;
    const stream = this.#open[random.below(this.#open.length)] ?? 1;
    const frames = [
      () => encodeFrame(FrameType.data, random.below(3), stream, random.bytes(1 + random.below(3_000))),
      () => encodeCredit(0, stream, 1 + random.below(100_000)),
      () => fields().number(Tag.watchEvent, 2).text(Tag.path, '/x').frame(FrameType.event, stream),
      () => fields().number(Tag.op, Op.accepted).number(Tag.listener, 1).frame(FrameType.open, this.#nextId()),
      () => encodeFrame(FrameType.eof, random.below(3), stream),
      () => encodeFrame(FrameType.cancel, 0, this.#guestId),
    ] as const;
    this.#send([random.pick(frames)()]);
  }

  /** Completes a frame that was cut, so that what follows is read as frames again. */
  complete(): void {
    this.peer.send(Buffer.alloc(65_548));
  }

  #nextId(): number {
    this.#guestId += 2;
    return this.#guestId;
  }

  #answer(frame: Frame): void {
    if (frame.type !== FrameType.open) return;
    this.#open.push(frame.stream);
    const op = Number(new Fields(frame.payload, true).u64(Tag.op));
    if (this.honest) this.peer.send(...answerFrames(op, frame.stream, this.#random));
    else this.#send(answerFrames(op, frame.stream, this.#random));
  }

  #send(frames: readonly Buffer[]): void {
    const random = this.#random;
    const sent = frames.flatMap((frame) => {
      if (!random.oneIn(this.#calm)) return [frame];
      if (!this.peer.host.destroyed) this.mutated += 1;
      return mutate(frame, random);
    });
    for (const chunk of random.cut(Buffer.concat(sent))) this.peer.send(chunk);
  }
}

/** All frames of a right answer. */
function answerFrames(op: number, stream: number, random: SeededRandom): Buffer[] {
  const result = (answer: FieldsBuilder) => answer.frame(FrameType.result, stream);
  const data = (channel: number) => {
    const count = random.below(6);
    return Array.from({ length: count }, () =>
      encodeFrame(FrameType.data, channel, stream, random.bytes(1 + random.below(2_000))),
    );
  };
  const eof = (channel: number) => encodeFrame(FrameType.eof, channel, stream);
  const event = (answer: FieldsBuilder) => answer.frame(FrameType.event, stream);
  switch (op) {
    case Op.exec:
      return [
        event(fields().number(Tag.pid, 9)),
        ...data(1),
        ...data(2),
        eof(1),
        eof(2),
        result(fields().number(Tag.exitCode, 0)),
      ];
    case Op.logs:
      return [
        ...data(1),
        ...data(2),
        ...data(1),
        eof(1),
        eof(2),
        result(fields().number(Tag.state, 2).number(Tag.exitCode, 1)),
      ];
    case Op.read: {
      const body = data(0);
      const size = body.reduce((sum, frame) => sum + frame.length - 12, 0);
      return [event(statFields(fields())), ...body, eof(0), result(fields().number(Tag.size, size))];
    }
    case Op.tarOut:
      return [...data(0), eof(0), result(fields())];
    case Op.watch:
      return Array.from({ length: 5 }, () =>
        event(fields().number(Tag.watchEvent, 8).text(Tag.path, '/a').text(Tag.to, '/b')),
      );
    case Op.connect:
      return [event(fields()), ...data(0), eof(0)];
    case Op.listen:
      return [event(fields().number(Tag.listener, 1).number(Tag.port, 80))];
    default:
      return [result(anyAnswer())];
  }
}

const statFields = (builder: FieldsBuilder): FieldsBuilder =>
  builder.number(Tag.kind, 1).number(Tag.size, 10).number(Tag.mode, 0o644).number(Tag.uid, 0).number(Tag.gid, 0);

/** Holds the fields of every operation that has one answer only. */
function anyAnswer(): FieldsBuilder {
  const record = statFields(
    fields().text(Tag.name, 'entry').number(Tag.pid, 4).number(Tag.state, 1).text(Tag.arg, 'sh'),
  );
  const nested = record.frame(FrameType.result, 1).subarray(12);
  const answer = statFields(
    fields().number(Tag.timeNs, 1).number(Tag.pid, 4).number(Tag.exitCode, 0).text(Tag.cursor, 'c'),
  );
  for (let tag = Tag.memoryTotal; tag <= Tag.background; tag += 1) answer.number(tag, 5);
  return answer.bytes(Tag.record, nested).bytes(Tag.record, nested);
}
