import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type AgentUnderTest, bytesOfAll, eventually } from './native-agent.ts';

async function* slices(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export function filesSuite(get: () => AgentUnderTest): void {
  const fresh = async (name: string): Promise<string> => {
    const directory = join(get().agent.directory, name);
    await mkdir(directory);
    return directory;
  };

  describe('files', () => {
    test('what is written is read again: nothing, a little, a lot', async () => {
      const directory = await fresh('round');
      for (const size of [0, 1, 65_536, 5_000_000]) {
        const content = randomBytes(size);
        const path = join(directory, `of-${size}`);
        assert.deepEqual(await get().client.write(path, slices(content, 100_000), { mode: 0o640, sync: true }), {
          size,
        });
        assert.ok((await readFile(path)).equals(content));
        assert.equal((await lstat(path)).mode & 0o777, 0o640);
        const { stat, body } = await get().client.read(path);
        assert.deepEqual([stat.kind, stat.size, stat.mode], ['file', size, 0o640]);
        assert.ok(Math.abs(stat.mtimeMs - Date.now()) < 60_000);
        assert.ok((await bytesOfAll(body)).equals(content));
        assert.deepEqual(await get().client.write(path, content), { size });
      }
      assert.equal((await readdir(directory)).length, 4);
    });

    test('a part of a file', async () => {
      const path = join(await fresh('part'), 'f');
      await get().client.write(path, Buffer.from('0123456789'));
      const part = async (offset: number, length?: number) => {
        const options = length === undefined ? { offset } : { offset, length };
        return (await bytesOfAll((await get().client.read(path, options)).body)).toString();
      };
      assert.deepEqual([await part(3, 4), await part(8), await part(8, 100), await part(50)], ['3456', '89', '89', '']);
    });

    test('leaving a read early frees its stream', async () => {
      const { client } = get();
      const path = join(await fresh('early'), 'f');
      await client.write(path, Buffer.alloc(4_000_000));
      for await (const _ of (await client.read(path)).body) break;
      await eventually('the stream has ended', () => client.load.streams === 0);
      assert.equal(client.load.queuedBytes, 0);
    });

    test('an upload that fails leaves the old file and nothing else', async () => {
      const { client } = get();
      const directory = await fresh('atomic');
      const path = join(directory, 'f');
      await client.write(path, Buffer.from('old'));
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield Buffer.alloc(100_000);
        throw new Error('source failed');
      }
      await assert.rejects(client.write(path, failing()), /source failed/);
      await eventually('the stream has ended', () => client.load.streams === 0);
      assert.deepEqual(await readdir(directory), ['f']);
      assert.equal(await readFile(path, 'utf8'), 'old');
    });

    test('parents are made when asked for', async () => {
      const { client } = get();
      const path = join(await fresh('parents'), 'a/b/c');
      await assert.rejects(client.write(path, Buffer.from('x')), { code: 'guest.not_found' });
      await client.write(path, Buffer.from('x'), { parents: true });
      assert.equal(await readFile(path, 'utf8'), 'x');
    });

    test('list is sorted and paged', async () => {
      const { client } = get();
      const directory = await fresh('list');
      const names = Array.from({ length: 2_500 }, (_, i) => `f${`${i}`.padStart(4, '0')}-${'n'.repeat(100)}`);
      for (const name of [...names, 'ä', 'Z']) await writeFile(join(directory, name), '');
      await symlink('/etc/passwd', join(directory, 'link'));
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const page = await client.list(directory, cursor === null ? { limit: 700 } : { limit: 700, cursor });
        assert.ok(page.items.length > 0 && page.items.length <= 700);
        seen.push(...page.items.map(({ name }) => name));
        const link = page.items.find(({ name }) => name === 'link');
        if (link !== undefined) assert.deepEqual([link.kind, link.target], ['symlink', '/etc/passwd']);
        cursor = page.cursor;
      } while (cursor !== null);
      assert.deepEqual(seen, ['Z', ...names, 'link', 'ä']);
      await client.remove(directory, { recursive: true });
    });

    test('stat, mkdir, move, remove and their refusals', async () => {
      const { client } = get();
      const directory = await fresh('tree');
      const at = (name: string) => join(directory, name);
      await client.mkdir(at('a/b'), { parents: true, mode: 0o750 });
      assert.equal((await client.stat(at('a/b'))).kind, 'directory');
      await assert.rejects(client.mkdir(at('a')), { code: 'guest.exists' });
      await client.write(at('a/f'), Buffer.from('1'));
      await client.write(at('g'), Buffer.from('2'));
      await assert.rejects(client.move(at('g'), at('a/f')), { code: 'guest.exists' });
      await client.move(at('g'), at('a/f'), { overwrite: true });
      assert.equal(await readFile(at('a/f'), 'utf8'), '2');
      await assert.rejects(client.remove(at('a')), { code: 'guest.not_empty' });
      await assert.rejects(client.stat(at('g')), { code: 'guest.not_found', details: { errno: 2 } });
      await assert.rejects(client.list(at('a/f')), { code: 'guest.not_a_directory' });
      await assert.rejects(client.read(directory), { code: 'guest.is_a_directory' });
      await assert.rejects(client.read(at('none')), { code: 'guest.not_found' });
      await assert.rejects(client.write(directory, Buffer.from('x')), { code: 'guest.is_a_directory' });
      await symlink(at('a'), at('link'));
      await client.remove(at('link'), { recursive: true });
      assert.ok((await client.list(at('a'))).items.length === 2, 'the link was removed, not what it leads to');
      await client.remove(at('a'), { recursive: true });
      assert.deepEqual(await readdir(directory), []);
    });

    test('names that are no UTF-8 do not end the session', async () => {
      const { client } = get();
      const directory = await fresh('odd');
      await writeFile(Buffer.concat([Buffer.from(`${directory}/x`), Buffer.from([0xff, 0xfe])]), '');
      await symlink(Buffer.from([0xc3, 0x28]), join(directory, 'link'));
      await writeFile(join(directory, 'plain'), '');
      const listing = await client.list(directory).catch((error: { code?: string }) => error.code);
      assert.notEqual(listing, 'guest.protocol_error');
      assert.ok((await client.ping()) > 0n);
      await client.remove(directory, { recursive: true });
    });
  });
}
