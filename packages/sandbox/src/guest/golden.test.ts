import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decodeCredit, decodeHeader, FrameReader } from './frame.ts';
import { guestLimits } from './limits.ts';
import { SeededRandom } from './seeded-random.ts';
import { FrameType, Tag, tagKinds } from './tags.ts';
import { Fields } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

type Field = [tag: number, kind: string, value: unknown];

/** As guest/protocol.md describes it. */
interface Golden {
  readonly name: string;
  readonly hex: string;
  readonly frame?: {
    readonly type: number;
    readonly channel: number;
    readonly stream: number;
    readonly fields: Field[];
  };
  readonly error?: string;
}

const folder = new URL('../../../../guest/golden/', import.meta.url);

function fieldsOf(fields: Fields, nested: boolean): Field[] {
  const found: Field[] = [];
  for (const [tag, value] of fields) {
    const kind = tagKinds[tag];
    if (kind === 'u64') found.push([tag, kind, `${value.readBigUInt64LE()}`]);
    else if (kind === 'i64') found.push([tag, kind, `${value.readBigInt64LE()}`]);
    else if (kind === 'text') found.push([tag, kind, value.toString('utf8')]);
    else if (kind === 'record' && !nested) found.push([tag, kind, fieldsOf(new Fields(value, false, true), true)]);
    else if (kind !== undefined) found.push([tag, 'bytes', value.toString('hex')]);
  }
  return found;
}

function payloadFields(type: number, payload: Buffer): Field[] {
  if (type === FrameType.data) return [[0, 'bytes', payload.toString('hex')]];
  if (type === FrameType.credit) return [[0, 'u64', `${decodeCredit(payload)}`]];
  return fieldsOf(new Fields(payload, type === FrameType.open || type === FrameType.ctl), false);
}

/** Decodes exactly one frame with the decoders that the connection uses; what they cannot tell of one frame is here. */
function decode(bytes: Buffer): NonNullable<Golden['frame']> {
  const start = bytes.findIndex((byte) => byte !== 0);
  const frame = start === -1 ? Buffer.alloc(0) : bytes.subarray(start);
  if (frame.length === 0) throw new ProtocolViolation('truncated');
  if (frame.length < guestLimits.headerBytes) {
    new FrameReader(() => assert.fail('a frame without a header')).push(frame);
    throw new ProtocolViolation('truncated');
  }
  const { type, channel, stream, length } = decodeHeader(frame, 0);
  const payload = frame.subarray(guestLimits.headerBytes, guestLimits.headerBytes + length);
  if (payload.length < length) throw new ProtocolViolation('truncated');
  if (frame.length > guestLimits.headerBytes + length) throw new ProtocolViolation('trailing_bytes');
  return { type, channel, stream, fields: payloadFields(type, payload) };
}

for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
  const list: readonly Golden[] = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
  test(`golden frames: ${file}`, () => {
    assert.ok(list.length > 0);
    const random = new SeededRandom(1);
    for (const { name, hex, frame, error } of list) {
      const bytes = Buffer.from(hex, 'hex');
      if (error !== undefined) {
        assert.throws(() => decode(bytes), { name: 'ProtocolViolation', message: error }, name);
        continue;
      }
      assert.deepEqual(decode(bytes), frame, name);
      const seen: unknown[] = [];
      const reader = new FrameReader(({ type, channel, stream, payload }) =>
        seen.push({ type, channel, stream, fields: payloadFields(type, payload) }),
      );
      for (const chunk of random.cut(bytes)) reader.push(chunk);
      assert.deepEqual(seen, [frame], `${name}, cut`);
    }
  });
}

test('the tags of the protocol are known by their numbers and kinds, and no others', () => {
  const text = readFileSync(new URL('../protocol.md', folder), 'utf8');
  const section = text.slice(text.indexOf('## Tags'), text.indexOf('## Operations, host'));
  const named = new Map<number, string>();
  for (const [, number, kind] of section.matchAll(/\| (\d+)\s+\| [A-Z_]+\s+\| (text|bytes|u64|i64)/g)) {
    named.set(Number(number), kind ?? '');
  }
  assert.ok(named.size > 50);
  for (const [tag, kind] of named) assert.equal(tagKinds[tag], kind, `tag ${tag}`);
  // The numbers of usage and load, and RECORD, are listed in sentences.
  const others = Object.values(Tag).filter((tag) => !named.has(tag));
  assert.deepEqual(
    others,
    Array.from({ length: 17 }, (_, i) => 70 + i),
  );
});
