import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textWidth } from '@holdfast/sdk';
import { Screen, wrap } from './screen.ts';
import { testCounts } from './stages.ts';

const esc = '\u001b';

const drawn = (options: { width: number; color?: boolean; live?: boolean }) => {
  let text = '';
  const out = {
    write: (more: string) => {
      text += more;
    },
  };
  const screen = new Screen({ color: false, live: false, ...options, out });
  return { screen, text: () => text, lines: () => text.split('\n').slice(0, -1) };
};

const everything = async (screen: Screen) => {
  screen.heading('Holdfast', 'what it does, at some length, so that a narrow screen has to cut it somewhere');
  await screen.during('working', async () => undefined);
  screen.line({ mark: '✓', color: 'green', label: 'exec', text: `${esc}[2J日本語 `.repeat(20), ms: 1234 });
  screen.line({ mark: '·', color: 'dim', label: 'read', text: 'src/interval.js', indent: 2 });
  screen.said(`It said ${esc}]0;title\u0007 something.\n\n${'word '.repeat(60)}`);
  screen.diff('diff --git a/x b/x\nindex 1..2\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new \u001b[31m\n');
};

test('no line is wider than the screen, and nothing of what is shown acts on the terminal', async () => {
  for (const width of [20, 60, 80, 100, 300]) {
    const { screen, lines, text } = drawn({ width });
    await everything(screen);
    const most = Math.min(Math.max(width, 60), 108);
    for (const line of lines()) assert.ok(textWidth(line) <= most, `${textWidth(line)} > ${most}: ${line}`);
    assert.ok(!text().includes(esc));
    assert.ok(!text().includes('\r'));
  }
});

test('colour is added only when asked for, and is the only difference', async () => {
  const plain = drawn({ width: 80 });
  const colored = drawn({ width: 80, color: true });
  await everything(plain.screen);
  await everything(colored.screen);
  assert.ok(colored.text().includes(`${esc}[32m`));
  assert.equal(
    colored
      .text()
      .split(esc)
      .map((part, i) => (i === 0 ? part : part.replace(/^\[\d+m/, '')))
      .join(''),
    plain.text(),
  );
});

test('on a terminal what is under way is shown and wiped', async () => {
  const { screen, text } = drawn({ width: 80, live: true });
  await screen.during('working hard', async () => undefined);
  assert.ok(text().includes('working hard'));
  assert.ok(text().endsWith('\r\u001b[K'));
});

test('times stand at the right', () => {
  const { screen, lines } = drawn({ width: 80 });
  screen.line({ mark: '✓', color: 'green', label: 'one', text: 'short', ms: 12.3 });
  screen.line({ mark: '✓', color: 'green', label: 'two', text: 'long '.repeat(50), ms: 4567 });
  assert.deepEqual(
    lines().map((line) => textWidth(line)),
    [80, 80],
  );
  assert.ok(lines()[0]?.endsWith('12.3 ms'));
});

test('text is wrapped at words', () => {
  assert.deepEqual(wrap('one two three\n\nfour', 8), ['one two', 'three', '', 'four']);
});

test('the numbers of a test run are read from its output, and only from one', () => {
  assert.deepEqual(testCounts('✖ x\nℹ tests 16\nℹ pass 13\nℹ fail 3\n'), { passed: 13, failed: 3 });
  assert.deepEqual(testCounts('# pass 2\n# fail 0\n'), { passed: 2, failed: 0 });
  assert.equal(testCounts('all pass 3 times'), null);
});
