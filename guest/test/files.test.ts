import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmod,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { type Agent, type Built, build, start, until } from './agent-program.ts';
import { type Answer, code, type Field, frame, number, open, text, type, values, Wire } from './wire.ts';

let built: Built;
let agent: Agent;
let wire: Wire;
let folder: string;
before(async () => {
  built = await build();
  agent = await start(built);
  wire = await Wire.connect(agent.socket);
});
beforeEach(async () => {
  folder = await mkdtemp(join(built.folder, 'files-'));
});
after(async () => {
  wire.close();
  assert.equal(await agent.stop(), 0, agent.complaints());
  await built.remove();
});

const at = (name: string): string => join(folder, name);
const op = (n: number, name: string, ...more: Field[]): Promise<Answer> => wire.call([[1, n], [30, at(name)], ...more]);
const codeOf = async (n: number, name: string, ...more: Field[]): Promise<string | null> =>
  code((await op(n, name, ...more)).last);
const write = (name: string, body: Uint8Array, ...more: Field[]): Promise<Answer> =>
  wire.call([[1, 11], [30, at(name)], ...more], body);

test('a file comes back as it was written, whole or in part', async () => {
  const body = Buffer.from(Array.from({ length: 700_001 }, (_, i) => (i * 31) % 251));
  assert.equal(number((await write('f', body, [32, 0o640], [45, 1])).last, 35), body.length);
  assert.equal((await lstat(at('f'))).mode & 0o7777, 0o640);
  const whole = await op(10, 'f');
  assert.deepEqual(whole.output[0], body);
  assert.equal(number(whole.last, 35), body.length);
  assert.equal(number(whole.events[0] ?? whole.last, 37), 1);
  assert.deepEqual((await op(10, 'f', [39, 100], [40, 50])).output[0], body.subarray(100, 150));
  assert.equal((await op(10, 'f', [39, 10_000_000])).output[0].length, 0);
  assert.equal((await op(10, 'f', [40, 0])).output[0].length, 0);
  assert.ok(
    (
      await wire.call([
        [1, 10],
        [30, '/proc/self/status'],
      ])
    ).output[0].length > 100,
  );
});

test('a write replaces at once, keeps the mode, and makes parents only when asked', async () => {
  await write('script', Buffer.from('old'), [32, 0o755]);
  await write('script', Buffer.from('new'));
  assert.equal((await lstat(at('script'))).mode & 0o7777, 0o755);
  assert.equal(await readFile(at('script'), 'utf8'), 'new');
  assert.equal(code((await write('no/such/f', Buffer.from('x'))).last), 'not_found');
  assert.equal((await write('no/such/f', Buffer.from('x'), [43, 1])).last.type, type.result);
  assert.equal(code((await write('no', Buffer.from('x'))).last), 'is_a_directory');
  assert.equal(code((await write('script/f', Buffer.from('x'))).last), 'not_a_directory');
});

test('a write that is cancelled, or whose session ends, leaves nothing behind', async () => {
  await writeFile(at('kept'), 'kept');
  const begin = async (): Promise<number> => {
    const stream = wire.newStream();
    wire.send(open(stream, [1, 11], [30, at('kept')]), frame(type.data, 0, stream, Buffer.alloc(65_536)));
    await until(async () => (await readdir(folder)).length === 2, 'the temporary file');
    return stream;
  };
  const stream = await begin();
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
  assert.deepEqual(await readdir(folder), ['kept']);
  await begin();
  await wire.begin();
  assert.deepEqual(await readdir(folder), ['kept']);
  assert.equal(await readFile(at('kept'), 'utf8'), 'kept');
});

test('a full disk is no_space and leaves nothing behind', { skip: process.getuid?.() !== 0 }, async (t) => {
  const disk = at('disk');
  await mkdir(disk);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'none', disk]);
  t.after(() => execFileSync('umount', [disk]));
  assert.equal(code((await write('disk/f', Buffer.alloc(260_000))).last), 'no_space');
  assert.deepEqual(await readdir(disk), []);
  assert.equal(await codeOf(16, 'disk', [41, 1]), 'busy');
  await write('disk/f', Buffer.from('x'));
  assert.equal(await codeOf(16, '', [41, 1]), 'busy');
  assert.deepEqual(await readdir(disk), ['f'], 'nothing beyond a mount is removed');
});

test('paths that are not plain and absolute are refused', async () => {
  const paths = ['', 'relative', './x', '/a/../b', '/..', '/a/.', `/${'x'.repeat(256)}`, `/${'a/'.repeat(2050)}`];
  for (const n of [10, 11, 12, 13, 14, 16, 17, 18, 19]) {
    for (const path of paths) {
      assert.equal(
        code(
          (
            await wire.call([
              [1, n],
              [30, path],
            ])
          ).last,
        ),
        'invalid_path',
        `operation ${n} of ${path}`,
      );
    }
    assert.equal(code((await wire.call([[1, n]])).last), 'bad_request');
  }
  assert.equal(code((await op(15, 'a', [31, 'b'])).last), 'invalid_path');
});

test('STAT tells of links themselves; what is no file can not be read', async () => {
  await symlink('../somewhere', at('link'));
  const { last } = await op(12, 'link');
  assert.deepEqual([number(last, 37), text(last, 38)], [3, '../somewhere']);
  await utimes(at('link'), 0, 0).catch(() => undefined);
  await writeFile(at('old'), '');
  execFileSync('touch', ['-d', '1960-01-01T00:00:00.5Z', at('old')]);
  assert.equal(number((await op(12, 'old')).last, 36), -315_619_199_500_000_000);
  execFileSync('mkfifo', [at('fifo')]);
  assert.equal(number((await op(12, 'fifo')).last, 37), 4);
  assert.equal(await codeOf(10, 'fifo'), 'bad_request');
  assert.equal(await codeOf(10, ''), 'is_a_directory');
  assert.equal(await codeOf(10, 'none'), 'not_found');
  assert.equal(
    code(
      (
        await wire.call([
          [1, 10],
          [30, '/dev/zero'],
        ])
      ).last,
    ),
    'bad_request',
  );
});

test('a large directory is listed in pages, by name in order of bytes, names that are no text included', async () => {
  const names = Array.from({ length: 2_300 }, (_, i) => `${'n'.repeat(i % 90)}${i}`);
  await Promise.all(names.map((name) => writeFile(at(name), '')));
  execFileSync('sh', ['-c', `touch "$(printf '\\377\\376x')" "$(printf 'n\\377')"`], { cwd: folder });
  const seen: string[] = [];
  let cursor: string | null = null;
  for (let pages = 0; pages < 50; pages++) {
    const { last }: Answer = await op(13, '', [48, 500], ...(cursor === null ? [] : [[49, cursor] as const]));
    const page = values(last.payload, 79).map((payload) => text({ ...last, payload }, 42) ?? '');
    assert.ok(page.length <= 500);
    seen.push(...page);
    cursor = text(last, 49);
    if (cursor === null) break;
  }
  const repaired = ['\ufffd\ufffdx', 'n\ufffd'];
  assert.deepEqual(
    seen.filter((name) => !repaired.includes(name)),
    names.toSorted(),
  );
  assert.equal(seen.length, names.length + 2);
  assert.equal(code((await op(13, '', [49, 'nonsense'])).last), 'bad_request');
  assert.equal(await codeOf(13, names[0] ?? ''), 'not_a_directory');
});

test('directories are made, things moved and removed, and nothing more', async () => {
  assert.equal(await codeOf(14, 'a/b'), 'not_found');
  assert.equal((await op(14, 'a/b', [43, 1], [32, 0o2777])).last.type, type.result);
  assert.equal((await lstat(at('a/b'))).mode & 0o7777, 0o2777);
  assert.equal(await codeOf(14, 'a/b'), 'exists');
  await writeFile(at('a/f'), 'f');
  await writeFile(at('g'), 'g');
  assert.equal(code((await op(15, 'a/f', [31, at('g')])).last), 'exists');
  assert.equal((await op(15, 'a/f', [31, at('g')], [44, 1])).last.type, type.result);
  assert.equal(await readFile(at('g'), 'utf8'), 'f');
  assert.equal(await codeOf(16, 'a'), 'not_empty');
  assert.equal(await codeOf(16, 'none'), 'not_found');
  await mkdir(at('victim'));
  await writeFile(at('victim/precious'), '');
  await symlink(at('victim'), at('a/b/link'));
  await symlink(at('victim'), at('top'));
  for (let i = 0; i < 400; i++) await writeFile(at(`a/b/${i}`), '');
  assert.equal((await op(16, 'a', [41, 1])).last.type, type.result);
  assert.equal((await op(16, 'top', [41, 1])).last.type, type.result);
  assert.deepEqual((await readdir(folder)).toSorted(), ['g', 'victim']);
  assert.deepEqual(await readdir(at('victim')), ['precious']);
});

const tarOf = async (name: string): Promise<Buffer> => (await op(17, name)).output[0];
const unpack = (name: string, tar: Uint8Array, ...more: Field[]): Promise<Answer> =>
  wire.call([[1, 18], [30, at(name)], ...more], tar);
const describe = (name: string): string =>
  execFileSync('find', ['.', '-printf', '%P|%y|%m|%s|%Ts|%l|%n|%U\n'], { cwd: at(name), encoding: 'utf8' })
    .split('\n')
    .filter((line) => !line.startsWith('|'))
    .toSorted()
    .join('\n');

test('a tree survives TAR_OUT and TAR_IN, and GNU tar on either side', async () => {
  const long = 'l'.repeat(200);
  await mkdir(at(`t/empty`), { recursive: true });
  await mkdir(at(`t/${long}/${long}`), { recursive: true });
  await writeFile(at(`t/${long}/${long}/deep`), 'deep');
  await writeFile(at('t/program'), Buffer.alloc(200_000, 'x'));
  await chmod(at('t/program'), 0o4755);
  await link(at('t/program'), at('t/hard'));
  await symlink('program', at('t/soft'));
  await symlink(`${long}/${long}/${long}`, at('t/dangling'));
  execFileSync('touch', ['-d', '1960-01-01', at('t/old')]);
  execFileSync('touch', ['-d', '2001-02-03', at('t/empty'), at(`t/${long}`)]);
  execFileSync('mkfifo', [at('t/fifo')]);
  const tar = await tarOf('t');
  await rm(at('t/fifo'));
  execFileSync('touch', ['-d', '2001-02-03', at('t/empty'), at(`t/${long}`)]);
  assert.equal(tar.length % 512, 0);
  assert.equal(number((await unpack('u', tar)).last, 35), 200_004);
  assert.equal(describe('u'), describe('t'));
  await mkdir(at('g'));
  execFileSync('tar', ['-xpf', '-'], { cwd: at('g'), input: tar });
  assert.equal(describe('g'), describe('t'));
  for (const format of ['pax', 'gnu']) {
    const made = execFileSync('tar', [`--format=${format}`, '-cf', '-', '.'], { cwd: at('t'), maxBuffer: 1 << 24 });
    assert.equal((await unpack(format, made)).last.type, type.result);
    assert.equal(describe(format), describe('t'));
  }
  const single = await tarOf('t/program');
  await unpack('single', single);
  assert.deepEqual(await readFile(at('single/program')), await readFile(at('t/program')));
});

/** One ustar member, by hand. */
function member(kind: string, name: string, body = '', target = ''): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write('0000644\0' + '0000000\0'.repeat(2), 100);
  block.write(`${body.length.toString(8).padStart(11, '0')}\0${'0'.repeat(11)}\0        ${kind}${target}`, 124);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([block, Buffer.from(body), Buffer.alloc((512 - (body.length % 512)) % 512)]);
}

test('an archive can not climb out, pass through links, or make devices', async () => {
  await mkdir(at('outside'));
  await writeFile(at('outside/secret'), 'secret');
  const refused: [string, Buffer[], string][] = [
    ['..', [member('0', '../evil', 'x')], 'invalid_path'],
    ['.. inside', [member('0', 'a/../../evil', 'x')], 'invalid_path'],
    ['.. at the end', [member('5', 'a/..')], 'invalid_path'],
    ['an absolute path', [member('0', at('evil'), 'x')], 'invalid_path'],
    ['a file through a link', [member('2', 'l', '', at('outside')), member('0', 'l/evil', 'x')], 'invalid_path'],
    ['a directory through a link', [member('2', 'l', '', at('outside')), member('5', 'l/evil')], 'invalid_path'],
    ['a directory over a link', [member('2', 'l', '', at('outside')), member('5', 'l')], 'invalid_path'],
    ['a hard link to outside', [member('1', 'h', '', '../outside/secret')], 'invalid_path'],
    [
      'a hard link through a link',
      [member('2', 'l', '', at('outside')), member('1', 'h', '', 'l/secret')],
      'invalid_path',
    ],
    ['the directory itself', [member('0', '.', 'x')], 'invalid_path'],
    ['a device', [member('3', 'null')], 'bad_request'],
    ['a fifo', [member('6', 'fifo')], 'bad_request'],
    ['a wrong checksum', [Buffer.alloc(512, 65)], 'bad_request'],
    ['an archive cut short', [member('0', 'cut', 'x'.repeat(600)).subarray(0, 700)], 'bad_request'],
    ['a pax record that lies', [member('x', 'p', '99 path=a\n'), member('0', 'x')], 'bad_request'],
    ['a pax path that climbs', [member('x', 'p', '18 path=../../evil\n'), member('0', 'x')], 'bad_request'],
    ['an extension of 1 MB', [member('x', 'p', 'x'.repeat(1_000_000))], 'too_large'],
  ];
  for (const [i, [name, members, wanted]] of refused.entries()) {
    const end = Buffer.alloc(name === 'an archive cut short' ? 0 : 1024);
    const { last } = await unpack(`in-${i}`, Buffer.concat([...members, end]));
    assert.equal(code(last), wanted, name);
  }
  const climbing = await unpack('in-pax', Buffer.concat([member('x', 'p', '19 path=../../evil\n'), member('0', 'x')]));
  assert.equal(code(climbing.last), 'invalid_path');
  assert.deepEqual(await readdir(at('outside')), ['secret']);
  assert.ok(!(await readdir(folder)).includes('evil'));
  assert.deepEqual(await readdir(at('in-13')), [], 'half a file is taken away');
  // A link is replaced by a file of its name, not written through.
  await unpack('over', Buffer.concat([member('2', 'l', '', at('outside/secret')), member('0', 'l', 'new')]));
  assert.equal(await readFile(at('outside/secret'), 'utf8'), 'secret');
  assert.equal(await readFile(at('over/l'), 'utf8'), 'new');
  await unpack('link', member('2', 'l', '', '/etc/anything'));
  assert.equal(await readlink(at('link/l')), '/etc/anything');
});

test('changes below a path are reported, moves as one', async () => {
  await mkdir(at('w/sub'), { recursive: true });
  const stream = wire.newStream();
  wire.send(open(stream, [1, 19], [30, at('w')], [41, 1]), open(wire.newStream(), [1, 1]));
  assert.equal((await wire.next()).type, type.result, 'the watch is in place when the next request is answered');
  const expectEvents = async (...wanted: [number, string, string?][]): Promise<void> => {
    for (const [event, path, to] of wanted) {
      const f = await wire.next();
      assert.deepEqual([number(f, 47), text(f, 30), text(f, 31)], [event, at(path), to === undefined ? null : at(to)]);
    }
  };
  await mkdir(at('w/new'));
  await expectEvents([1, 'w/new']);
  await writeFile(at('w/new/f'), 'x');
  await expectEvents([1, 'w/new/f'], [2, 'w/new/f']);
  await rename(at('w/new/f'), at('w/sub/g'));
  await expectEvents([8, 'w/new/f', 'w/sub/g']);
  await rename(at('w/new'), at('w/other'));
  await expectEvents([8, 'w/new', 'w/other']);
  await mkdir(at('w/other/below'));
  await expectEvents([1, 'w/other/below']);
  await rename(at('w/sub/g'), at('gone'));
  await expectEvents([4, 'w/sub/g']);
  await rm(at('w/other'), { recursive: true });
  await expectEvents([4, 'w/other/below'], [4, 'w/other']);
  wire.send(frame(type.cancel, 0, stream));
  assert.equal(code((await wire.finish(stream)).last), 'cancelled');
});

test('events that the host does not take end the watch, not the agent', async (t) => {
  await mkdir(at('w'));
  const other = await start(built);
  t.after(() => other.stop());
  const slow = await Wire.connect(other.socket);
  slow.send(open(1, [1, 19], [30, at('w')]), open(3, [1, 1]));
  await slow.next();
  slow.pause();
  execFileSync('sh', ['-c', 'i=0; while [ $i -lt 30000 ]; do : >$i; i=$((i+1)); done'], { cwd: at('w') });
  slow.resume();
  assert.equal(code((await slow.finish(1)).last), 'watch_overflow');
  slow.close();
});
