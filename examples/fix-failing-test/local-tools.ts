import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Tools } from './tools.ts';

export interface LocalResult {
  readonly exitCode: number | null;
  readonly output: string;
}

/** Runs a shell command of this machine, with this Node first in its path. For tests. */
export const runLocally = (command: string, cwd: string): Promise<LocalResult> =>
  new Promise((done, reject) => {
    const path = `${resolve(process.execPath, '..')}:/usr/local/bin:/usr/bin:/bin`;
    const child = spawn('/bin/sh', ['-c', command], { cwd, env: { PATH: path, HOME: cwd, NODE_NO_WARNINGS: '1' } });
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.once('error', reject);
    child.once('close', (exitCode) => done({ exitCode, output }));
  });

/** The agent's tools in a folder of this machine instead of a sandbox. For tests: nothing isolates what they do. */
export const localTools = (root: string): Tools => ({
  exec: async (command, span) => {
    const { exitCode, output } = await runLocally(command, root);
    span.attributes.exitCode = exitCode;
    return `${output}[exit code ${exitCode}]`;
  },
  read: (path) => readFile(resolve(root, path), 'utf8'),
  write: async (path, content) => {
    await writeFile(resolve(root, path), content);
    return `wrote ${Buffer.byteLength(content)} bytes`;
  },
});
