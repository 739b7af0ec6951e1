import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type AgentUnderTest, bytesOfAll, eventually } from './native-agent.ts';
import type { GuestWatchEvent } from './watch.ts';

const run = promisify(execFile);

/** Every path below a directory, with what it is. */
async function describeTree(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const path of (await readdir(directory, { recursive: true })).sort()) {
    const stat = await lstat(join(directory, path));
    const mode = (stat.mode & 0o777).toString(8);
    if (stat.isSymbolicLink()) found[path] = `-> ${await readlink(join(directory, path))}`;
    else if (stat.isDirectory()) found[path] = `directory ${mode}`;
    else found[path] = `${mode} ${(await readFile(join(directory, path))).toString('base64')}`;
  }
  return found;
}

export function treesSuite(get: () => AgentUnderTest): void {
  const fresh = async (name: string): Promise<string> => {
    const directory = join(get().agent.directory, name);
    await mkdir(directory);
    return directory;
  };

  describe('trees', () => {
    test('a tree goes out and in again, symlinks, long names and modes included', async () => {
      const { client } = get();
      const from = await fresh('tar-from');
      const to = join(get().agent.directory, 'tar-to');
      await mkdir(join(from, 'deep/er'), { recursive: true, mode: 0o755 });
      await writeFile(join(from, 'deep/er/big'), randomBytes(700_001), { mode: 0o600 });
      await writeFile(join(from, 'run'), '#!/bin/sh\n', { mode: 0o755 });
      await writeFile(join(from, 'empty'), '');
      await writeFile(join(from, `${'long-ä'.repeat(30)}`), 'x');
      await symlink('deep/er/big', join(from, 'inside'));
      await symlink('/etc/passwd', join(from, 'outside'));
      const tar = client.tarOut(from);
      const { size } = await client.tarIn(to, tar.body);
      await tar.done;
      assert.ok(size > 700_001);
      assert.deepEqual(await describeTree(to), await describeTree(from));
    });

    test('an ordinary tar reads what comes out, and its archives go in', async () => {
      const { client, agent } = get();
      const from = await fresh('plain-from');
      await mkdir(join(from, 'd'));
      await writeFile(join(from, 'd/f'), 'content');
      const archive = join(agent.directory, 'plain.tar');
      await writeFile(archive, await bytesOfAll(client.tarOut(from).body));
      const to = await fresh('plain-to');
      await run('tar', ['-xf', archive, '-C', to]);
      const [only] = await readdir(to);
      const root = (await readdir(to)).includes('d') ? to : join(to, only ?? '');
      assert.deepEqual(await describeTree(root), await describeTree(from));
      await run('tar', ['-cf', archive, '-C', from, '.']);
      const back = join(agent.directory, 'plain-back');
      await client.tarIn(back, await readFile(archive));
      assert.deepEqual(await describeTree(back), await describeTree(from));
    });

    test('entries that climb out or pass through links are refused', async () => {
      const { client, agent } = get();
      const from = await fresh('evil-from');
      await writeFile(join(from, 'f'), 'evil');
      const archive = join(agent.directory, 'evil.tar');
      const target = join(agent.directory, 'evil-to');
      const refused = async (...transform: string[]) => {
        await run('tar', ['-cPf', archive, '-C', from, ...transform, 'f']);
        await assert.rejects(client.tarIn(target, await readFile(archive)), { code: 'guest.invalid_path' });
      };
      await refused('--transform=s,f,../climbed,');
      await refused('--transform=s,f,a/../../climbed,');
      await mkdir(target, { recursive: true });
      await symlink(agent.directory, join(target, 'link'));
      await refused('--transform=s,f,link/climbed,');
      await assert.rejects(lstat(join(agent.directory, 'climbed')));
    });

    test('what is no tar stream is refused', async () => {
      const { client, agent } = get();
      await assert.rejects(client.tarIn(join(agent.directory, 'no-tar'), Buffer.alloc(10_240, 0x41)), (error: Error) =>
        ('code' in error ? `${error.code}` : '').startsWith('guest.'),
      );
      assert.ok((await client.ping()) > 0n);
    });
  });

  describe('watch', () => {
    test('created, modified, moved and removed, in new directories too', async () => {
      const { client } = get();
      const directory = await fresh('watched');
      const watch = client.watch(directory, { recursive: true });
      const seen: GuestWatchEvent[] = [];
      const reading = (async () => {
        for await (const event of watch.events) seen.push(event);
      })();
      const has = (event: GuestWatchEvent['event'], name: string) =>
        seen.some(
          (one) => one.event === event && (one.path === join(directory, name) || one.to === join(directory, name)),
        );
      await client.ping();
      await writeFile(join(directory, 'a'), '1');
      await eventually('a is created and modified', () => has('created', 'a') && has('modified', 'a'));
      await mkdir(join(directory, 'sub'));
      await eventually('sub is created', () => has('created', 'sub'));
      await writeFile(join(directory, 'sub/b'), '1');
      await eventually('sub/b is created', () => has('created', 'sub/b'));
      await rename(join(directory, 'a'), join(directory, 'c'));
      await eventually('a is moved', () =>
        seen.some(
          ({ event, path, to }) => event === 'moved' && path === join(directory, 'a') && to === join(directory, 'c'),
        ),
      );
      await rm(join(directory, 'c'));
      await eventually('c is removed', () => has('removed', 'c'));
      watch.cancel();
      await reading;
      await eventually('the stream has ended', () => client.load.streams === 0);
    });

    test('a path that is not there', async () => {
      const events = get().client.watch('/no/such/path').events[Symbol.asyncIterator]();
      await assert.rejects(events.next(), { code: 'guest.not_found' });
    });
  });
}
