import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { recording } from '@holdfast/gateway';
import { runLocally } from './local-tools.ts';
import { testCounts } from './stages.ts';
import { parseToolCall, type ToolCall } from './tools.ts';

const repository = join(import.meta.dirname, 'repo');
const file = join(import.meta.dirname, 'recorded/fix-failing-test.json');

interface Delta {
  readonly content?: string | null;
  readonly tool_calls?: readonly {
    index: number;
    id?: string;
    function: { name?: string; arguments?: string };
  }[];
}

interface Chunk {
  readonly object: string;
  readonly choices: readonly { delta: Delta; finish_reason: string | null }[];
  readonly usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
}

interface Turn {
  readonly chunks: readonly Chunk[];
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

const readTurns = async (): Promise<Turn[]> => {
  const { replies } = recording.parse(JSON.parse(await readFile(file, 'utf8')));
  return replies.map(({ stream }) => {
    const lines = (stream?.events ?? []).flatMap((event) => event.lines);
    assert.ok(lines.every((line) => line.startsWith('data: ')));
    assert.equal(lines.at(-1), 'data: [DONE]');
    const chunks = lines.slice(0, -1).map((line): Chunk => JSON.parse(line.slice(6)));
    const deltas = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta));
    const asked: { name: string; json: string }[] = [];
    for (const part of deltas.flatMap((delta) => delta.tool_calls ?? [])) {
      asked[part.index] ??= { name: part.function.name ?? '', json: '' };
      const call = asked[part.index];
      if (call !== undefined) call.json += part.function.arguments ?? '';
    }
    return {
      chunks,
      text: deltas.map((delta) => delta.content ?? '').join(''),
      calls: asked.map(({ name, json }) => parseToolCall(name, json)),
    };
  });
};

const scratch = async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-example-'));
  await cp(repository, path, { recursive: true });
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
};

test('the recording says what it is, and is in the wire format of a stream', async () => {
  const { description, provenance } = recording.parse(JSON.parse(await readFile(file, 'utf8')));
  assert.match(provenance, /no model was asked/);
  assert.ok(description.length > 20);
  const turns = await readTurns();
  assert.equal(turns.length, 5);
  for (const [i, { chunks, text, calls }] of turns.entries()) {
    assert.ok(chunks.every((chunk) => chunk.object === 'chat.completion.chunk'));
    assert.notEqual(text, '');
    const ends = chunks.flatMap((chunk) => chunk.choices.flatMap((choice) => choice.finish_reason ?? []));
    assert.deepEqual(ends, [i === turns.length - 1 ? 'stop' : 'tool_calls']);
    assert.equal(calls.length === 0, i === turns.length - 1);
    const last = chunks.at(-1);
    assert.deepEqual(last?.choices, []);
    const usage = last?.usage ?? assert.fail('no usage');
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
    assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
  }
});

test('the tests of the repository fail, and pass after the recorded edit of one line', async () => {
  await using folder = await scratch();
  const before = await runLocally('node test/run.js', folder.path);
  assert.notEqual(before.exitCode, 0);
  assert.deepEqual(testCounts(before.output), { passed: 13, failed: 3 });

  const edits = (await readTurns()).flatMap(({ calls }) => calls.filter(({ name }) => name === 'write'));
  assert.deepEqual(
    edits.map(({ subject }) => subject),
    ['src/interval.js'],
  );
  const corrected = edits[0]?.content ?? '';
  const original = await readFile(join(repository, 'src/interval.js'), 'utf8');
  const lines = original.split('\n');
  const changed = corrected.split('\n').filter((line, i) => line !== lines[i]);
  assert.equal(corrected.split('\n').length, lines.length);
  assert.equal(changed.length, 1, 'the recording was made for this very file');

  await writeFile(join(folder.path, 'src/interval.js'), corrected);
  const after = await runLocally('node test/run.js', folder.path);
  assert.equal(after.exitCode, 0, after.output);
  assert.deepEqual(testCounts(after.output), { passed: 16, failed: 0 });
});
