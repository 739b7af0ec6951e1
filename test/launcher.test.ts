import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCatalogue } from '@holdfast/core';
import { checkout } from './tidy/source-files.ts';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A checkout of only the launcher and a CLI that says it was reached, with an npm that does what a test wants. */
class Sample implements AsyncDisposable {
  readonly folder: string;
  readonly home: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.home = join(folder, 'home');
  }

  static async make(npm: string): Promise<Sample> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-launcher-'));
    const sample = new Sample(folder);
    await mkdir(join(folder, 'checkout/apps/cli/src'), { recursive: true });
    await mkdir(join(folder, 'bin'));
    await writeFile(join(folder, 'checkout/holdfast'), await readFile(join(checkout, 'holdfast')));
    await writeFile(join(folder, 'checkout/package.json'), '{\n  "version": "9.8.7",\n  "name": "sample"\n}\n');
    await sample.lock('{"packages":{}}');
    await writeFile(
      join(folder, 'checkout/apps/cli/src/main.ts'),
      `console.log('reached', process.argv.slice(2).join(' '));\n`,
    );
    await sample.program('npm', npm);
    await sample.program('node', `exec "${process.execPath}" "$@"`);
    return sample;
  }

  async lock(text: string): Promise<void> {
    await writeFile(join(this.folder, 'checkout/package-lock.json'), text);
  }

  async program(name: string, body: string): Promise<void> {
    const file = join(this.folder, 'bin', name);
    await writeFile(file, `#!/bin/sh\n${body}\n`);
    await chmod(file, 0o755);
  }

  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    const child = spawn('dash', [join(this.folder, 'checkout/holdfast'), ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { HOME: this.folder, HOLDFAST_HOME: this.home, PATH: `${this.folder}/bin:/usr/bin:/bin`, ...env },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, stdout, stderr }));
    });
  }

  /** How often npm was asked to install. */
  async installs(): Promise<number> {
    const text = await readFile(join(this.folder, 'installs'), 'utf8').catch(() => '');
    return text.split('\n').filter(Boolean).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Installs nothing, but leaves npm's own record, as the real one does. */
const workingNpm = `
[ "$1" = install ] || exit 0
while [ "$1" != --prefix ]; do shift; done
echo x >> "$HOME/installs"
mkdir -p "$2/node_modules"
echo '{"packages":{}}' > "$2/node_modules/.package-lock.json"`;

/** `doctor` needs no Debian packages, so these tests change nothing on the machine. */
const light = ['doctor', 'now'];

test('the first start installs, later ones go straight to the command line', async () => {
  await using sample = await Sample.make(workingNpm);
  const first = await sample.run(light);
  assert.equal(first.stdout, 'reached doctor now\n', first.stderr);
  assert.match(first.stderr, /Installing the npm dependencies of the lock file: done/);
  const second = await sample.run(light);
  assert.deepEqual(second, { code: 0, stdout: 'reached doctor now\n', stderr: '' });
  assert.equal(await sample.installs(), 1);
});

test('a changed lock file is installed again', async () => {
  await using sample = await Sample.make(workingNpm);
  await sample.run(light);
  await sample.lock('{"packages":{},"changed":true}');
  await sample.run(light);
  assert.equal(await sample.installs(), 2);
});

test('[R-launcher-resumes] an installation that failed is done afresh, with nothing of the first left', async () => {
  const failing = `${workingNpm}\ntouch "$2/node_modules/half"\n[ -e "$HOME/repaired" ] || exit 1`;
  await using sample = await Sample.make(failing);
  const failed = await sample.run(light);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /error setup\.dependencies_failed: /);
  assert.equal(failed.stdout, '');
  await sample.program('npm', workingNpm);
  const again = await sample.run(light);
  assert.match(again.stderr, /was interrupted: starting it afresh/);
  assert.equal(again.stdout, 'reached doctor now\n');
  await assert.rejects(readFile(join(sample.folder, 'checkout/node_modules/half')));
});

test('[R-launcher-resumes] what npm installed is not trusted when it differs from the lock file', async () => {
  const wrong = workingNpm.replace('{"packages":{}}', '{"packages":{"node_modules/evil":{"version":"1.0.0"}}}');
  await using sample = await Sample.make(wrong);
  const ended = await sample.run(light);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /not as in package-lock\.json: node_modules\/evil 1\.0\.0/);
});

test('[R-launcher-resumes] two first starts at once install once', async () => {
  await using sample = await Sample.make(workingNpm);
  const both = await Promise.all([sample.run(light), sample.run(light)]);
  assert.deepEqual(
    both.map(({ stdout }) => stdout),
    ['reached doctor now\n', 'reached doctor now\n'],
  );
  assert.equal(await sample.installs(), 1);
});

test('the version needs no setup, and the tab key never starts one', async () => {
  await using sample = await Sample.make('exit 1');
  assert.deepEqual(await sample.run(['--version']), { code: 0, stdout: '9.8.7\n', stderr: '' });
  assert.deepEqual(await sample.run(['__complete', '--', 's']), { code: 0, stdout: '', stderr: '' });
});

test('a data folder that cannot be made is told with its code, as a problem document with --json', async () => {
  await using sample = await Sample.make(workingNpm);
  const home = join(sample.folder, 'checkout/package.json/home');
  const told = await sample.run(light, { HOLDFAST_HOME: home });
  assert.equal(told.code, 1);
  assert.match(told.stderr, /^error home\.unusable: .*\nhelp: .*\n$/);
  const json = await sample.run([...light, '--json'], { HOLDFAST_HOME: home });
  assert.equal(JSON.parse(json.stderr).code, 'home.unusable');
});

test('every code that the launcher fails with is in the catalogue', async () => {
  const text = await readFile(join(checkout, 'holdfast'), 'utf8');
  const codes = [...text.matchAll(/\bfail ([a-z]+\.[a-z_]+) (\d+)/g)];
  assert.ok(codes.length > 8);
  for (const [, code = '', status] of codes) {
    assert.ok(Object.hasOwn(errorCatalogue, code), code);
    const kind = Object.entries(errorCatalogue).find(([name]) => name === code)?.[1];
    assert.equal(kind?.status, Number(status), code);
  }
});
