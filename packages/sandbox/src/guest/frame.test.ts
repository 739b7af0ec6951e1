import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCredit, encodeFrame, type Frame, FrameReader } from './frame.ts';
import { SeededRandom } from './seeded-random.ts';
import { FrameType, Tag } from './tags.ts';
import { Fields, FieldsBuilder } from './tlv.ts';

const seed = 20_260_101;

interface Sample {
  readonly bytes: Buffer;
  readonly type: number;
  readonly channel: number;
  readonly stream: number;
}

function sample(random: SeededRandom): Sample {
  const stream = 1 + random.below(0xffff_fffe);
  const channel = random.below(3);
  switch (random.below(4)) {
    case 0: {
      const payload = random.bytes(1 + random.below(random.pick([10, 1_000, 65_536])));
      return { bytes: encodeFrame(FrameType.data, channel, stream, payload), type: FrameType.data, channel, stream };
    }
    case 1:
      return { bytes: encodeFrame(FrameType.eof, channel, stream), type: FrameType.eof, channel, stream };
    case 2:
      return {
        bytes: encodeCredit(channel, stream, 1 + random.below(65_536)),
        type: FrameType.credit,
        channel,
        stream,
      };
    default: {
      const fields = new FieldsBuilder().number(Tag.op, 3).bytes(Tag.entropy, random.bytes(random.below(2_000)));
      return { bytes: fields.frame(FrameType.open, stream), type: FrameType.open, channel: 0, stream };
    }
  }
}

test('frames come out as they went in, however the stream is cut', () => {
  const random = new SeededRandom(seed);
  for (let round = 0; round < 60; round += 1) {
    const samples = Array.from({ length: 1 + random.below(8) }, () => sample(random));
    const zeroes = Buffer.alloc(random.below(20));
    const seen: Frame[] = [];
    const reader = new FrameReader((frame) => seen.push({ ...frame, payload: Buffer.from(frame.payload) }));
    const stream = Buffer.concat(samples.flatMap(({ bytes }) => [zeroes, bytes]));
    for (const chunk of random.cut(stream)) reader.push(chunk);
    assert.equal(reader.midFrame, false);
    const expected = samples.map(({ bytes, ...rest }) => ({ ...rest, payload: Buffer.from(bytes.subarray(12)) }));
    assert.deepEqual(seen, expected, `seed ${seed} round ${round}`);
  }
});

test('fields come out as they went in', () => {
  const random = new SeededRandom(seed);
  for (let round = 0; round < 500; round += 1) {
    const texts = Array.from({ length: random.below(20) }, () =>
      random.pick(['', 'a', 'ä€😀', '\ufeffx', 'x'.repeat(99)]),
    );
    const number = BigInt.asUintN(64, BigInt(random.below(2 ** 31)) << BigInt(random.below(40)));
    const bytes = random.bytes(random.below(600));
    const frame = new FieldsBuilder()
      .number(Tag.op, 1)
      .texts(Tag.arg, texts)
      .number(Tag.size, number)
      .bytes(Tag.entropy, bytes)
      .frame(FrameType.open, 1);
    const fields = new Fields(frame.subarray(12), true);
    assert.deepEqual(fields.texts(Tag.arg, 1_000, 100), texts);
    assert.equal(fields.u64(Tag.size), number);
    assert.deepEqual(fields.bytes(Tag.entropy), bytes);
    assert.equal(fields.text(Tag.path, 10), null);
  }
});

test('a request that cannot be sent is refused before it is', () => {
  const builder = () => new FieldsBuilder();
  const code = (code: string) => ({ code });
  assert.throws(() => builder().text(Tag.path, 'a\0b'), code('guest.bad_request'));
  for (const bad of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -1n, 2n ** 64n]) {
    assert.throws(() => builder().number(Tag.size, bad), code('guest.bad_request'), `${bad}`);
  }
  assert.throws(() => builder().text(Tag.shell, 'x'.repeat(65_531)), code('guest.too_large'));
  assert.equal(builder().text(Tag.shell, 'x'.repeat(65_530)).frame(FrameType.open, 1).length, 65_548);
  assert.throws(() => builder().texts(Tag.arg, Array(20_000).fill('')), code('guest.too_large'));
});

test('a reader throws at the first wrong byte of a header and not later', () => {
  const bytes = encodeFrame(FrameType.data, 1, 7, Buffer.from('abc'));
  for (const at of [0, 1, 2, 3, 10, 11]) {
    const broken = Buffer.from(bytes);
    broken[at] = 0x77;
    const reader = new FrameReader(() => assert.fail('a broken frame was delivered'));
    assert.throws(() => reader.push(broken), { name: 'ProtocolViolation' }, `byte ${at}`);
  }
});
