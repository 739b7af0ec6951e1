import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChatRequest } from './chat-request.ts';
import { edited, jsonMembers } from './json-members.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const sent = (text: string, model: string): string =>
  new TextDecoder().decode(parseChatRequest(bytes(text)).bodyFor(model));

test('members are found whatever stands between and inside them', () => {
  const text = ' {"a" : "x\\"}\\\\" ,\n"b":[{"c":"]"},[]],"d":-1.5e3 , "\\u0065":null,"f":{}} ';
  assert.deepEqual(
    jsonMembers(text).map((m) => [m.key, text.slice(m.valueStart, m.valueEnd)]),
    [
      ['a', '"x\\"}\\\\"'],
      ['b', '[{"c":"]"},[]]'],
      ['d', '-1.5e3'],
      ['e', 'null'],
      ['f', '{}'],
    ],
  );
  assert.deepEqual(jsonMembers('{}'), []);
});

test('members agree with JSON.parse on many shapes', () => {
  const values = ['""', '"\\\\"', '"\\\\\\""', '0', 'true', '[]', '[[]]', '{"q":"}"}', '"é🧪"', '[1,"]",{"a":[]}]'];
  for (const a of values)
    for (const b of values)
      for (const space of ['', ' ', '\r\n\t']) {
        const text = `{${space}"a"${space}:${space}${a}${space},${space}"b":${b}${space}}`;
        const whole: unknown = JSON.parse(text);
        for (const member of jsonMembers(text)) {
          const value: unknown = JSON.parse(text.slice(member.valueStart, member.valueEnd));
          assert.deepEqual(value, Reflect.get(Object(whole), member.key), text);
        }
      }
});

test('edits apply in order of place', () => {
  const edits = [
    { start: 4, end: 5, text: 'E' },
    { start: 0, end: 1, text: 'A' },
    { start: 2, end: 2, text: '-' },
  ];
  assert.equal(edited('abcdef', edits), 'Ab-cdEf');
});

test('nothing to change leaves the very bytes', () => {
  const body = bytes('{"messages":[],"model":"m"}');
  assert.equal(parseChatRequest(body).bodyFor('m'), body);
});

test('usage is asked for in a stream, however stream_options came', () => {
  const rest = '"model":"m","messages":[],"stream":true';
  assert.equal(sent(`{${rest}}`, 'm'), `{"stream_options":{"include_usage":true},${rest}}`);
  for (const [given, wanted] of [
    ['null', '{"include_usage":true}'],
    ['{}', '{"include_usage":true}'],
    ['{ }', '{"include_usage":true }'],
    ['{"x":1}', '{"include_usage":true,"x":1}'],
    ['{"include_usage":false}', '{"include_usage":true}'],
    ['{"include_usage" : null,"x":1}', '{"include_usage" : true,"x":1}'],
    ['{"include_usage":true}', '{"include_usage":true}'],
  ] as const)
    assert.equal(sent(`{${rest},"stream_options":${given}}`, 'm'), `{${rest},"stream_options":${wanted}}`);
});

test('a model name is written as JSON', () => {
  assert.equal(sent('{"model":"m","messages":[]}', 'a"b'), '{"model":"a\\"b","messages":[]}');
});

test('the turn is the number of assistant messages', () => {
  const messages = [
    { role: 'system' },
    { role: 'user' },
    { role: 'assistant' },
    { role: 'tool' },
    { role: 'assistant' },
  ];
  const request = parseChatRequest(bytes(JSON.stringify({ model: 'm', messages })));
  assert.deepEqual([request.assistantTurns, request.lastRole], [2, 'assistant']);
  assert.equal(parseChatRequest(bytes('{"model":"m","messages":[]}')).lastRole, null);
});
