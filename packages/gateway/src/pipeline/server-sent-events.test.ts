import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSplitter, eventText, parseEvent } from './server-sent-events.ts';

const encode = (text: string): Buffer => Buffer.from(text);

const pushed = (splitter: EventSplitter, chunk: Uint8Array): string[] => {
  const { bytes, ends } = splitter.push(chunk);
  return ends.map((end, i) => bytes.toString('utf8', ends[i - 1] ?? 0, end));
};

const events = [
  'data: a\n\n',
  ': comment\n\n',
  'event: x\r\ndata: b\r\ndata: é🧪\r\n\r\n',
  'data:c\r\r',
  'data: [DONE]\n\n',
];

test('events come out byte for byte, wherever the stream is cut', () => {
  const whole = encode(events.join(''));
  for (let size = 1; size <= whole.length; size += 1) {
    const splitter = new EventSplitter(1_000);
    const out: string[] = [];
    for (let at = 0; at < whole.length; at += size) out.push(...pushed(splitter, whole.subarray(at, at + size)));
    assert.deepEqual(out, events, `in pieces of ${size}`);
    assert.equal(splitter.rest().length, 0);
  }
});

test('events stay what they were while more of the stream comes', () => {
  const splitter = new EventSplitter(1_000);
  splitter.push(encode('data: fi'));
  const first = splitter.push(encode('rst\n\ndata: sec'));
  splitter.push(encode('ond\n\ndata: third'));
  assert.equal(first.bytes.toString('utf8', 0, first.ends[0]), 'data: first\n\n');
});

test('what no blank line closed is kept', () => {
  const splitter = new EventSplitter(1_000);
  assert.deepEqual(pushed(splitter, encode('data: a\n')), []);
  assert.equal(splitter.rest().toString(), 'data: a\n');
});

test('an event longer than the limit is refused', () => {
  const splitter = new EventSplitter(10);
  assert.throws(() => splitter.push(encode('data: 12345')), /too large/);
});

test('events are read as the specification says', () => {
  const data = (text: string) => parseEvent(encode(text))?.data ?? null;
  assert.equal(data('data: a\n\n'), 'a');
  assert.equal(data('data:a\r\ndata:  b\r\n\r\n'), 'a\n b');
  assert.equal(data(': only a comment\n\n'), null);
  assert.equal(data('event: ping\n\n'), null);
  assert.equal(data('data\n\n'), '');
  assert.deepEqual(parseEvent(encode('event: x\ndata: y\n\n')), { event: 'x', data: 'y' });
});

test('events are written as they are read', () => {
  for (const event of [
    { event: null, data: '{"a":1}' },
    { event: 'x', data: 'y' },
    { event: null, data: 'two\nlines' },
  ])
    assert.deepEqual(parseEvent(encode(eventText(event))), event);
});
