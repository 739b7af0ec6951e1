import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireFormat } from '../doors/endpoint.ts';
import type { JsonObject } from '../formats/format.ts';
import { newestOf, repetitionOf } from './repetition.ts';

interface Said {
  readonly tool: string;
  readonly args: JsonObject;
  readonly result: string;
}

/** The same conversation in each of the formats. */
const conversations: Readonly<Record<string, (said: readonly Said[]) => JsonObject>> = {
  'openai-chat': (said) => ({
    messages: said.flatMap(({ tool, args, result }, i) => [
      {
        role: 'assistant',
        tool_calls: [{ id: `c${i}`, type: 'function', function: { name: tool, arguments: JSON.stringify(args) } }],
      },
      { role: 'tool', tool_call_id: `c${i}`, content: result },
    ]),
  }),
  'openai-responses': (said) => ({
    input: said.flatMap(({ tool, args, result }, i) => [
      { type: 'function_call', call_id: `c${i}`, name: tool, arguments: JSON.stringify(args) },
      { type: 'function_call_output', call_id: `c${i}`, output: result },
    ]),
  }),
  anthropic: (said) => ({
    messages: said.flatMap(({ tool, args, result }, i) => [
      { role: 'assistant', content: [{ type: 'tool_use', id: `c${i}`, name: tool, input: args }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: `c${i}`, content: result }] },
    ]),
  }),
  gemini: (said) => ({
    contents: said.flatMap(({ tool, args, result }) => [
      { role: 'model', parts: [{ functionCall: { name: tool, args } }] },
      { role: 'user', parts: [{ functionResponse: { name: tool, response: { result } } }] },
    ]),
  }),
};

const formats: readonly WireFormat[] = ['openai-chat', 'openai-responses', 'anthropic', 'gemini'];
const read: Said = { tool: 'read', args: { path: '/a', line: 1 }, result: 'x' };

for (const format of formats) {
  const body = (said: readonly Said[]): JsonObject => conversations[format]?.(said) ?? {};
  const times = (said: readonly Said[]): number => repetitionOf(format, body(said))?.times ?? 0;

  test(`[R-runaway] ${format}: calls of the same tool with the same arguments are counted`, () => {
    assert.equal(times([]), 0);
    assert.equal(times([read]), 1);
    assert.equal(times([read, read, read]), 3);
    assert.equal(repetitionOf(format, body([read, read]))?.tool, 'read');
    // The order of members is not a difference, other arguments and another tool are.
    assert.equal(times([{ ...read, args: { line: 1, path: '/a' } }, read]), 2);
    assert.equal(times([read, { ...read, args: { path: '/b', line: 1 } }]), 1);
    assert.equal(times([read, { ...read, tool: 'write' }]), 1);
  });

  test(`[R-runaway] ${format}: a loop over several calls counts, work between calls with new results does not`, () => {
    const test1 = { tool: 'test', args: {}, result: 'fails' };
    assert.equal(times([read, test1, read, test1, read, test1]), 3);
    const work = [1, 2, 3, 4].flatMap((i) => [
      { tool: 'edit', args: { i }, result: 'ok' },
      { tool: 'test', args: {}, result: `${i} tests pass` },
    ]);
    assert.equal(times(work), 1);
  });

  test(`[R-runaway] ${format}: what is newest is the same only when nothing new was said`, () => {
    const again = [read, read];
    const first = newestOf(format, body([read]));
    assert.ok(first !== null);
    assert.deepEqual(newestOf(format, body(again)), first);
    assert.notDeepEqual(newestOf(format, body([read, { ...read, result: 'y' }])), first);
    assert.equal(newestOf(format, {}), null);
  });
}

test('bodies of any shape are read without an error', () => {
  const odd: JsonObject[] = [
    { messages: 'x', input: 5, contents: null },
    { messages: [null, 1, 'x', [], { tool_calls: [null, { function: 3 }, { function: { name: 7 } }] }] },
    { messages: [{ content: [{ type: 'tool_use' }, { type: 'tool_result' }, null] }] },
    { input: [{ type: 'function_call' }, { type: 'function_call_output' }] },
    { contents: [{ parts: [{ functionCall: {} }, { functionResponse: { response: 1 } }, 5] }] },
    { messages: [{ tool_calls: [{ function: { name: 'a', arguments: '{not json' } }] }] },
  ];
  for (const format of [...formats, 'openai-embeddings'] as const)
    for (const body of odd) {
      repetitionOf(format, body);
      newestOf(format, body);
    }
});
