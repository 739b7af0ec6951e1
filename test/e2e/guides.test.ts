import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';
import { shellBlocks } from '../tidy/shell-blocks.ts';
import { checkout } from '../tidy/source-files.ts';

const keptChars = 100_000;

/** Starts the program without the launcher's setup, which has been done or these tests would not run. */
const launcher = `./holdfast() { "$HOLDFAST_NODE" apps/cli/src/main.ts "$@"; }`;

const runShell = async (script: string, home: string): Promise<{ code: number | null; output: string }> => {
  const child = spawn('bash', ['-eu', '-o', 'pipefail', '-c', script], {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      HOLDFAST_HOME: home,
      HOLDFAST_PORT: '0',
      HOLDFAST_NODE: process.execPath,
      PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`,
      TMPDIR: home,
    },
  });
  let output = '';
  const keep = (chunk: string) => {
    output = (output + chunk).slice(-keptChars);
  };
  child.stdout.setEncoding('utf8').on('data', keep);
  child.stderr.setEncoding('utf8').on('data', keep);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, output };
};

/** A template takes minutes to build; all tests share one folder of them. */
const sharedHome = process.env['HOLDFAST_HOME'] ?? join(homedir(), '.holdfast');
const templatesFolder = join(sharedHome, 'sandboxes/templates');

const guides = (await readdir(join(checkout, 'docs/guides'))).filter((file) => file.endsWith('.md'));

for (const guide of guides) {
  test(`[R-docs-true] the commands of docs/guides/${guide} work as they are shown`, async () => {
    const blocks = shellBlocks(await readFile(join(checkout, 'docs/guides', guide), 'utf8'));
    const lines = blocks.flatMap((block) => block.lines.map(({ text }) => text));
    assert.ok(lines.length > 0, 'the page shows commands');
    await mkdir(join(sharedHome, 'test'), { recursive: true });
    const home = await mkdtemp(join(sharedHome, 'test/guide-'));
    await writeFile(join(home, 'config.json'), JSON.stringify({ sandbox: { templatesFolder } }));
    // The marker tells which command was the last one to start.
    const script = lines.map((line) => `printf '+ %s\\n' ${JSON.stringify(line).replaceAll('$', '\\$')}\n${line}`);
    try {
      const { code, output } = await runShell(`${launcher}\n${script.join('\n')}`, home);
      assert.equal(code, 0, output);
    } finally {
      await runShell(`${launcher}\n./holdfast down`, home);
      await rm(home, { recursive: true, force: true });
    }
  });
}
