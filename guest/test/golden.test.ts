import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { type Built, build } from './agent-program.ts';

const folder = new URL('../golden/', import.meta.url);
let built: Built;
before(async () => {
  built = await build();
});
after(() => built.remove());

interface Golden {
  readonly name: string;
  readonly hex: string;
  readonly frame?: unknown;
  readonly error?: string;
}

function decode(hex: readonly string[]): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(built.program, ['--decode'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
    });
    child.on('error', reject);
    child.on('close', () => {
      try {
        resolve(
          out
            .trimEnd()
            .split('\n')
            .map((line): unknown => JSON.parse(line)),
        );
      } catch (error) {
        reject(error);
      }
    });
    child.stdin.end(`${hex.join('\n')}\n`);
  });
}

test('the agent decodes each golden frame exactly as it is written down', async () => {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  const cases: Golden[] = [];
  for (const file of files) cases.push(...JSON.parse(await readFile(new URL(file, folder), 'utf8')));
  assert.ok(cases.length >= 40, `only ${cases.length} golden frames`);
  const decoded = await decode(cases.map((c) => c.hex));
  assert.equal(decoded.length, cases.length);
  for (const [i, c] of cases.entries()) {
    const expected = c.error === undefined ? { frame: c.frame } : { error: c.error };
    assert.deepEqual(decoded[i], expected, c.name);
  }
});
