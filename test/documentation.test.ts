import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildProgram } from '@holdfast/cli';
import { shellBlocks } from './tidy/shell-blocks.ts';
import { projectFiles, readProjectFile } from './tidy/source-files.ts';

const pages = projectFiles.filter((file) => file.endsWith('.md') && !file.startsWith('guest/'));

const operators = ['|', '||', '&&', ';', '&', '$('];

/** Words and operators of a line as a shell splits them; enough for what the pages show. */
const wordsOf = (line: string): { text: string; quoted: boolean }[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\|\|?|&&?|;|\$\()|([^\s"'|&;]+)/g)].map((m) => ({
    text: m[1] ?? m[2] ?? m[3] ?? m[4] ?? '',
    quoted: m[1] !== undefined || m[2] !== undefined,
  }));

/** The words after the program's name in every invocation of it, up to a redirection, an operator or `--`. */
const invocationsOf = (line: string): string[][] => {
  const found: string[][] = [];
  let open: string[] | null = null;
  for (const { text, quoted } of wordsOf(line.replace(/^\$ /, '').replace(/\s+# .*$/, ''))) {
    if (!quoted && (text === './holdfast' || text === 'holdfast')) {
      open = [];
      found.push(open);
    } else if (!quoted && (text === '--' || operators.includes(text) || /^\d?[<>]/.test(text))) open = null;
    else open?.push(quoted ? JSON.stringify(text) : text);
  }
  return found;
};

/** Null when the command and its options exist. */
const wrong = (words: readonly string[]): string | null => {
  let command = buildProgram();
  const rest = [...words];
  while (rest.length > 0 && command.commands.length > 0) {
    const next = command.commands.find((sub) => sub.name() === rest[0]);
    if (next === undefined) break;
    command = next;
    rest.shift();
  }
  if (command.commands.length > 0 && rest.length > 0 && !(rest[0] ?? '').startsWith('-'))
    return `no command ${rest[0]}`;
  const known = new Set([...command.options.flatMap((o) => [o.long, o.short]), '--help', '-h', '--version', '-V']);
  const option = rest.find((word) => /^-{1,2}[a-z]/i.test(word) && !known.has(word.split('=')[0] ?? ''));
  return option === undefined ? null : `${command.name()} has no option ${option}`;
};

test('[R-docs-true] every command that the pages show exists, with its options', () => {
  let shown = 0;
  const offences: string[] = [];
  for (const page of pages) {
    for (const block of shellBlocks(readProjectFile(page) ?? '')) {
      for (const { text, line } of block.lines) {
        for (const words of invocationsOf(text)) {
          shown += 1;
          const problem = wrong(words);
          if (problem !== null) offences.push(`${page}:${line}: ${problem}: ${text}`);
        }
      }
    }
  }
  assert.deepEqual(offences, [], offences.join('\n'));
  assert.ok(shown > 10, 'the pages show commands');
});

test('[R-docs-true] the check finds a command and an option that do not exist', () => {
  assert.match(wrong(['sandbox', 'explode', 'x']) ?? '', /explode/);
  assert.match(wrong(['sandbox', 'ls', '--nothing']) ?? '', /--nothing/);
  assert.equal(wrong(['sandbox', 'create', 'work', '--memory', '512']), null);
  assert.deepEqual(invocationsOf('./holdfast key create --name ci --json | jq -r .key'), [
    ['key', 'create', '--name', 'ci', '--json'],
  ]);
});

test('[R-docs-true] links between pages lead to files', () => {
  const offences = pages.flatMap((page) => {
    const folder = page.includes('/') ? page.slice(0, page.lastIndexOf('/') + 1) : '';
    return [...(readProjectFile(page) ?? '').matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
      .map(([, target = '']) => new URL(target, `file:///${folder}`).pathname.slice(1))
      .filter(
        (target) => !projectFiles.some((file) => file === target || file.startsWith(`${target.replace(/\/$/, '')}/`)),
      )
      .map((target) => `${page}: ${target}`);
  });
  assert.deepEqual(offences, []);
});
