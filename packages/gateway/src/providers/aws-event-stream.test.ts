import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { HoldfastError } from '@holdfast/core';
import { AwsEventDecoder } from './aws-event-stream.ts';
import { awsFrame } from './aws-frame.suite.ts';

const codeOf = (code: string) => (error: unknown) => error instanceof HoldfastError && error.code === code;

test('events come out whole, wherever the stream is cut', () => {
  const frames = ['{"a":1}', '', 'x'.repeat(300)].map((payload) =>
    awsFrame({ ':event-type': 'chunk', n: 'é' }, payload),
  );
  const stream = Buffer.concat(frames);
  for (let size = 1; size <= stream.length; size += 7) {
    const decoder = new AwsEventDecoder(10_000);
    const found: string[] = [];
    for (let at = 0; at < stream.length; at += size)
      for (const event of decoder.push(stream.subarray(at, at + size))) {
        assert.deepEqual(event.headers, { ':event-type': 'chunk', n: 'é' });
        found.push(event.payload.toString());
      }
    assert.deepEqual(found, ['{"a":1}', '', 'x'.repeat(300)]);
    assert.equal(decoder.torn, false);
  }
});

test('every damaged byte is noticed', () => {
  const frame = awsFrame({ ':event-type': 'chunk' }, '{"bytes":"e30="}');
  for (let at = 0; at < frame.length; at += 1) {
    const bad = Buffer.from(frame);
    bad.writeUInt8(bad.readUInt8(at) ^ 0x01, at);
    const decoder = new AwsEventDecoder(10_000);
    let events = 0;
    try {
      // A longer length is believed until its checksum is here, and then the stream waits for what never comes.
      events = decoder.push(bad).length;
    } catch (error) {
      assert.ok(error instanceof HoldfastError, String(error));
      continue;
    }
    assert.deepEqual([events, decoder.torn], [0, true], `byte ${at}`);
  }
});

test('a frame that is too long is refused before it is here', () => {
  const head = Buffer.alloc(12);
  head.writeUInt32BE(20_000, 0);
  assert.throws(() => new AwsEventDecoder(10_000).push(head), codeOf('gateway.response_too_large'));
});

test('lengths that lie are refused', () => {
  const lying = (headersLength: number): Buffer => {
    const frame = awsFrame({ a: 'b' }, 'payload');
    frame.writeUInt32BE(headersLength, 4);
    frame.writeUInt32BE(crc32(frame.subarray(0, 8)), 8);
    frame.writeUInt32BE(crc32(frame.subarray(0, frame.length - 4)), frame.length - 4);
    return frame;
  };
  for (const length of [1, 3, 5, 200, 4_000_000_000])
    assert.throws(
      () => new AwsEventDecoder(10_000).push(lying(length)),
      codeOf('gateway.stream_broken'),
      String(length),
    );
  const short = Buffer.alloc(12);
  short.writeUInt32BE(12, 0);
  assert.throws(() => new AwsEventDecoder(10_000).push(short), codeOf('gateway.stream_broken'));
});
