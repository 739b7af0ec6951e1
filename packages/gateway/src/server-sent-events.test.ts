import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventSplitter, eventData } from './server-sent-events.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

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
    for (let at = 0; at < whole.length; at += size) out.push(...splitter.push(whole.slice(at, at + size)).map(decode));
    assert.deepEqual(out, events, `in pieces of ${size}`);
    assert.equal(splitter.rest().length, 0);
  }
});

test('what no blank line closed is kept', () => {
  const splitter = new EventSplitter(1_000);
  assert.deepEqual(splitter.push(encode('data: a\n')), []);
  assert.equal(decode(splitter.rest()), 'data: a\n');
});

test('an event longer than the limit is refused', () => {
  const splitter = new EventSplitter(10);
  assert.throws(() => splitter.push(encode('data: 12345')), /too large/);
});

test('data is read as the specification says', () => {
  assert.equal(eventData(encode('data: a\n\n')), 'a');
  assert.equal(eventData(encode('data:a\r\ndata:  b\r\n\r\n')), 'a\n b');
  assert.equal(eventData(encode(': only a comment\n\n')), null);
  assert.equal(eventData(encode('event: ping\n\n')), null);
  assert.equal(eventData(encode('data\n\n')), '');
});
