import { encodeCredit } from './frame.ts';
import type { SeededRandom } from './seeded-random.ts';

type Mutation = (frame: Buffer, random: SeededRandom) => Buffer[];

const withByte = (frame: Buffer, at: number, value: number): Buffer[] => {
  const changed = Buffer.from(frame);
  changed[at] = value;
  return [changed];
};

const withWord = (frame: Buffer, at: number, value: number): Buffer[] => {
  const changed = Buffer.from(frame);
  changed.writeUInt32LE(value >>> 0, at);
  return [changed];
};

const words = [0, 1, 2, 3, 5, 255, 65_536, 65_537, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff] as const;

const mutations: readonly [Mutation, ...Mutation[]] = [
  function flipBit(frame, random) {
    const at = random.below(frame.length);
    return withByte(frame, at, (frame[at] ?? 0) ^ (1 << random.below(8)));
  },
  function flipPayloadBit(frame, random) {
    if (frame.length === 12) return [frame, frame];
    const at = 12 + random.below(frame.length - 12);
    return withByte(frame, at, (frame[at] ?? 0) ^ (1 << random.below(8)));
  },
  function truncate(frame, random) {
    return [frame.subarray(0, random.below(frame.length))];
  },
  function duplicate(frame) {
    return [frame, frame];
  },
  function otherStream(frame, random) {
    return withWord(frame, 4, random.oneIn(2) ? random.pick(words) : random.below(40));
  },
  function otherChannel(frame, random) {
    return withByte(frame, 2, random.below(5));
  },
  function otherType(frame, random) {
    return withByte(frame, 1, random.below(13));
  },
  function otherLength(frame, random) {
    return withWord(frame, 8, random.oneIn(2) ? random.pick(words) : frame.length - 12 + random.below(5) - 2);
  },
  function hugeCredit(frame, random) {
    return [
      encodeCredit(random.below(2), frame.readUInt32LE(4), random.pick([16_777_216, 16_000_000, 0xffff_ffff, 0])),
    ];
  },
  function flood(frame, random) {
    return Array(random.pick([20, 20, 50, 100, 200, 5_000])).fill(frame);
  },
  function insertGarbage(frame, random) {
    return [frame, random.bytes(1 + random.below(100))];
  },
  function insertZeroes(frame, random) {
    return [Buffer.alloc(random.below(100)), frame];
  },
  function otherField(frame, random) {
    // Tag and length of the first field.
    if (frame.length < 18) return [frame, frame];
    return random.oneIn(2) ? withByte(frame, 12, random.below(90)) : withWord(frame, 14, random.pick(words));
  },
  function drop() {
    return [];
  },
];

/** One frame broken in one way: bits, borders, numbers, order or amount. */
export const mutate = (frame: Buffer, random: SeededRandom): Buffer[] => random.pick(mutations)(frame, random);
