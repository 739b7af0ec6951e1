import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '@holdfast/core';
import type { Command } from 'commander';
import { duration, pair, wholeNumber } from './command.ts';
import { placeOf } from './commands/sandbox/copy.ts';
import { candidatesFor } from './completion/candidates.ts';
import { buildProgram, runProgram } from './program.ts';

const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);

test('every command has a summary, examples and --json', () => {
  const all = leaves(buildProgram()).filter((command) => !command.name().startsWith('_') && command.name() !== 'help');
  assert.ok(all.length > 25, 'the tree was built');
  for (const command of all) {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    assert.ok(command.description().endsWith('.'), command.name());
    assert.match(help, /\nExamples:\n {2}\$ holdfast /, command.name());
    assert.ok(
      command.options.some(({ long }) => long === '--json'),
      command.name(),
    );
  }
});

const usageError = (error: unknown): boolean => error instanceof HoldfastError && error.code === 'cli.usage';

test('what the tree does not know is a usage error', async () => {
  for (const line of [
    'explode',
    'sandbox lz',
    'sandbox get',
    'sandbox get a b',
    'sandbox create --idle 5x',
    'sandbox create --memory 513',
    'sandbox create --memory NaN',
    'sandbox fork a --count 0',
    'sandbox fork a --count -1',
    'sandbox fork a --count 1e3',
    'sandbox exec a',
    'sandbox exec a --shell x -- y',
    'sandbox exec a --env =b -- y',
    'sandbox cp a b',
    'sandbox cp a:b c',
    'up --port 65536',
    'test --only everything',
    'key create',
    'key create --name a --role king',
    'completion tcsh',
  ]) {
    await assert.rejects(runProgram(line.split(' ')), usageError, line);
  }
});

test('durations, numbers and pairs are read within their bounds', () => {
  assert.deepEqual(['0', '15', '500ms', '2m', '1h'].map(duration(3_600_000)), [0, 15_000, 500, 120_000, 3_600_000]);
  for (const bad of ['', '-1', '1.5', '61m', '1w', 'Infinity', '9'.repeat(40)])
    assert.throws(() => duration(3_600_000)(bad), bad);
  for (const bad of ['', '0', '11', '0x1', '1e1', ' 1']) assert.throws(() => wholeNumber(1, 10)(bad), bad);
  assert.deepEqual(pair('b=c=d', pair('a=')), { a: '', b: 'c=d' });
});

test('a path in a sandbox is told from a local one as scp does', () => {
  assert.deepEqual(placeOf('work:/tmp/a'), { sandbox: 'work', path: '/tmp/a' });
  for (const local of ['a', './a:b', '/a:b', '../x:/y', ':/x'])
    assert.deepEqual(placeOf(local), { sandbox: null, path: local });
  assert.throws(() => placeOf('work:relative'), usageError);
});

const words = async (...typed: string[]): Promise<string[]> => {
  const lookup = async (kind: string) => [{ word: `one-${kind}`, description: '' }];
  return (await candidatesFor(buildProgram(), typed, lookup)).map(({ word }) => word);
};

test('completion follows the tree of commands', async () => {
  assert.deepEqual(await words('sandbox', 'st'), ['standby', 'start', 'stop']);
  assert.deepEqual(await words('sandbox', 'rm', ''), ['one-sandbox']);
  assert.deepEqual(await words('sandbox', 'rm', 'a', ''), ['one-sandbox']);
  assert.deepEqual(await words('sandbox', 'get', 'a', ''), []);
  assert.deepEqual(await words('sandbox', 'create', ''), []);
  assert.deepEqual(await words('bench', ''), ['one-bench']);
  assert.deepEqual(await words('trace', 'show', ''), ['one-trace']);
  assert.deepEqual(await words('key', 'create', '--role', ''), ['owner', 'developer', 'viewer']);
  assert.deepEqual(await words('completion', 'f'), ['fish']);
  assert.deepEqual(await words('sandbox', 'exec', 'a', '--', ''), []);
  assert.ok((await words('test', '--')).includes('--all'));
  assert.ok(!(await words('')).some((word) => word.startsWith('_')));
});
