import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Sandbox } from '@holdfast/sdk';
import { assertRefused } from './setup/refusals.ts';
import { SandboxServer } from './setup/sandbox-server.ts';
import { readUntil, until } from './setup/until.ts';

const bound = { timeout: 180_000 };

let server: SandboxServer;
let box: Sandbox;
let local: string;

before(async () => {
  local = await mkdtemp(join(tmpdir(), 'holdfast-files-'));
  server = await SandboxServer.start();
  box = await Sandbox.create(server.client, { idleTimeoutMs: 0 });
});

after(async () => {
  await server[Symbol.asyncDispose]();
  await rm(local, { recursive: true, force: true });
});

const namesIn = async (path: string): Promise<string[]> => {
  const names: string[] = [];
  for await (const entry of box.list(path)) names.push(entry.name);
  return names;
};

test('a file is written and read whole, and from an offset', bound, async () => {
  const content = Uint8Array.from({ length: 700_001 }, (_, i) => (i * 31) % 251);
  const path = '/workspace/deep/er/öl und\nsalz';
  assert.deepEqual(await box.writeFile(path, content, { parents: true, mode: '640', user: '1000:0' }), {
    size: content.length,
  });
  assert.deepEqual(await box.readFile(path), content);
  const part = await (await box.openFile(path, { offset: 699_990, length: 5 })).bytes();
  assert.deepEqual(part, content.slice(699_990, 699_995));
  assert.deepEqual(await (await box.openFile(path, { offset: 700_000 })).bytes(), content.slice(700_000));
  assert.equal((await (await box.openFile(path, { offset: 900_000 })).bytes()).length, 0);
  const { name, kind, size, mode, uid, gid, target } = await box.stat(path);
  assert.deepEqual(
    { name, kind, size, mode, uid, gid, target },
    { name: 'öl und\nsalz', kind: 'file', size: 700_001, mode: 0o640, uid: 1000, gid: 0, target: null },
  );
});

test('a write that breaks off leaves the old content and nothing else', bound, async () => {
  await box.writeFile('/workspace/atomic/file', 'old', { parents: true });
  async function* broken() {
    yield new Uint8Array(300_000);
    throw new Error('the disk of the client failed');
  }
  await assert.rejects(box.writeFile('/workspace/atomic/file', broken()));
  await until('the half written file is gone', async () => (await namesIn('/workspace/atomic')).join() === 'file');
  assert.equal(await box.readText('/workspace/atomic/file'), 'old');
});

test('readers see the old content or all of the new', bound, async () => {
  const versions = ['a', 'b'].map((letter) => letter.repeat(400_000));
  await box.writeFile('/workspace/swap', versions[0] ?? '');
  const reader = [
    'import sys',
    'n = 0',
    'while True:',
    '    s = open("/workspace/swap").read()',
    '    if len(s) != 400000 or len(set(s)) != 1: print("torn", len(s), set(s), flush=True)',
    '    n += 1',
    '    if n % 5 == 0: print("read", n, flush=True)',
  ];
  await box.spawn('reader', ['python3', '-c', reader.join('\n')]);
  const log = (await box.logs('reader', { follow: true }))[Symbol.asyncIterator]();
  await readUntil(log, 'read 5\n');
  for (let i = 0; i < 6; i++) await box.writeFile('/workspace/swap', versions[i % 2] ?? '');
  const text = await readUntil(log, /read \d+\nread \d+\nread \d+\n$/);
  await box.stopProcess('reader');
  assert.doesNotMatch(text, /torn/);
});

test('a directory is listed in pages, in the order of its names', bound, async () => {
  await box.exec('mkdir /workspace/many && cd /workspace/many && touch $(seq -f %04g 1 2345) && ln -s 0001 zlink');
  const { client } = server;
  const call = { params: { id: box.idOrName }, query: { path: '/workspace/many', limit: 10 } };
  const first = await client.listFiles(call);
  assert.deepEqual(first.items.map(({ name }) => name).slice(0, 3), ['0001', '0002', '0003']);
  assert.equal(first.items.length, 10);
  const second = await client.listFiles({ ...call, query: { ...call.query, cursor: first.cursor ?? '' } });
  assert.equal(second.items[0]?.name, '0011');
  const all = await namesIn('/workspace/many');
  assert.equal(all.length, 2_346);
  assert.deepEqual(all, all.toSorted());
  const { kind, target } = await box.stat('/workspace/many/zlink');
  assert.deepEqual([kind, target], ['symlink', '0001']);
});

test('directories and files are made, moved and removed', bound, async () => {
  await box.makeDirectory('/workspace/d/e/f', { parents: true, mode: '750' });
  assert.equal((await box.stat('/workspace/d/e/f')).mode, 0o750);
  await assert.rejects(box.makeDirectory('/workspace/d'), { code: 'guest.exists' });
  await assert.rejects(box.makeDirectory('/workspace/no/such/parent'), { code: 'guest.not_found' });
  await box.writeFile('/workspace/d/one', '1');
  await box.writeFile('/workspace/d/two', '2');
  await assert.rejects(box.move('/workspace/d/one', '/workspace/d/two'), { code: 'guest.exists' });
  assert.equal(await box.readText('/workspace/d/two'), '2');
  await box.move('/workspace/d/one', '/workspace/d/two', { overwrite: true });
  assert.equal(await box.readText('/workspace/d/two'), '1');
  await assert.rejects(box.removeFile('/workspace/d'), { code: 'guest.not_empty' });
  await box.exec('ln -s /etc/passwd /workspace/d/link');
  await box.removeFile('/workspace/d', { recursive: true });
  await assert.rejects(box.stat('/workspace/d'), { code: 'guest.not_found' });
  assert.match(await box.readText('/etc/passwd'), /^root:/);
});

test('a tree goes up and comes down as it was', bound, async () => {
  const up = join(local, 'up');
  await mkdir(join(up, 'inner/empty'), { recursive: true });
  await writeFile(join(up, 'inner/run.sh'), '#!/bin/sh\necho it runs\n');
  await chmod(join(up, 'inner/run.sh'), 0o755);
  await writeFile(join(up, 'binary'), Buffer.alloc(1_500_000, 7));
  await writeFile(join(up, 'ünïcode and spaces'), 'x');
  await symlink('inner/run.sh', join(up, 'link'));
  await box.uploadDirectory(up, '/workspace/tree/new');
  assert.equal((await box.exec(['/workspace/tree/new/link'])).stdout, 'it runs\n');
  const down = join(local, 'down');
  const { skipped } = await box.downloadDirectory('/workspace/tree/new', down);
  assert.deepEqual(skipped, []);
  assert.equal(await readFile(join(down, 'inner/run.sh'), 'utf8'), '#!/bin/sh\necho it runs\n');
  assert.equal((await lstat(join(down, 'inner/run.sh'))).mode & 0o777, 0o755);
  assert.ok((await readFile(join(down, 'binary'))).equals(Buffer.alloc(1_500_000, 7)));
  assert.equal(await readlink(join(down, 'link')), 'inner/run.sh');
  assert.ok((await lstat(join(down, 'inner/empty'))).isDirectory());
  assert.equal(await readFile(join(down, 'ünïcode and spaces'), 'utf8'), 'x');
});

test('a watch tells what changes, and holds the sandbox awake only while it is open', bound, async () => {
  await box.makeDirectory('/workspace/watched');
  const watch = await box.watch('/workspace/watched', { recursive: true });
  assert.ok((await box.why()).reasons.some(({ kind, detail }) => kind === 'watch' && detail === '/workspace/watched'));
  const seen = new Set<string>();
  const read = (async () => {
    for await (const { type, path, to } of watch) {
      seen.add(`${type} ${path}${to === null ? '' : ` ${to}`}`);
      if (path.endsWith('/stop')) break;
    }
  })();
  // A watch begins a moment after its answer, so the first change is made until it is seen.
  await until('the watch has begun', async () => {
    await box.exec('touch /workspace/watched/first');
    return [...seen].some((event) => event.endsWith('/first'));
  });
  await box.exec(
    'cd /workspace/watched && echo 1 > a && mv a b && rm b && mkdir sub && sleep 0.2 && touch sub/c && touch stop',
  );
  await read;
  for (const event of [
    'created /workspace/watched/a',
    'moved /workspace/watched/a /workspace/watched/b',
    'removed /workspace/watched/b',
    'created /workspace/watched/sub',
    'created /workspace/watched/sub/c',
  ])
    assert.ok(seen.has(event), `${event} is not in ${[...seen].join(', ')}`);
  await until('nothing is watched', async () => (await box.why()).reasons.every(({ kind }) => kind !== 'watch'));
});

test('a port in the sandbox is reached, by several connections at once', bound, async () => {
  const program = [
    'import socketserver, threading',
    'class Echo(socketserver.BaseRequestHandler):',
    '    def handle(self):',
    '        while data := self.request.recv(65536): self.request.sendall(data.upper())',
    'class Server(socketserver.ThreadingTCPServer): allow_reuse_address = True',
    'server = Server(("127.0.0.1", 8123), Echo); print("listening", flush=True); server.serve_forever()',
  ];
  await box.spawn('echo', ['python3', '-c', program.join('\n')]);
  await readUntil((await box.logs('echo', { follow: true }))[Symbol.asyncIterator](), 'listening');
  const exchange = async (letter: string) => {
    const stream = (await box.forward(8123)).duplex();
    const sent = letter.repeat(300_000);
    let received = '';
    const reading = (async () => {
      for await (const chunk of stream) {
        received += Buffer.from(chunk).toString();
        if (received.length >= sent.length) return;
      }
    })();
    stream.write(sent);
    await reading;
    assert.equal(received, sent.toUpperCase());
  };
  await Promise.all(['a', 'b', 'c'].map(exchange));
  await box.stopProcess('echo');
  await assert.rejects(box.forward(8123), { code: 'guest.connection_refused' });
});

test('[R-input-bounded] paths that are not plain and absolute are refused', bound, async () => {
  const bad = [
    'etc/passwd',
    '',
    './x',
    '/etc/../etc/passwd',
    '/..',
    '/workspace/./x',
    '/a\0b',
    `/${'x'.repeat(5_000)}`,
  ];
  for (const path of bad) {
    await assertRefused(
      ['request.invalid', 'guest.invalid_path', 'guest.bad_request'],
      [
        () => box.readFile(path),
        () => box.writeFile(path, 'x'),
        () => box.stat(path),
        () => namesIn(path),
        () => box.makeDirectory(path),
        () => box.move(path, '/workspace/x'),
        () => box.move('/etc/hostname', path),
        () => box.removeFile(path, { recursive: true }),
        () => box.watch(path),
        () => box.downloadDirectory(path, join(local, 'refused')),
        () => box.uploadDirectory(local, path),
      ],
    );
  }
});

test('[R-input-bounded] what is not there or of another kind says so', bound, async () => {
  await box.exec('echo x > /workspace/plain; ln -s /workspace/loop /workspace/loop; mkfifo /workspace/fifo');
  const refusals: readonly (readonly [string, readonly (() => Promise<unknown>)[]])[] = [
    [
      'guest.not_found',
      [
        () => box.readFile('/workspace/none'),
        () => box.writeFile('/workspace/none/file', 'x'),
        () => box.downloadDirectory('/workspace/none', join(local, 'none')),
        () => box.watch('/workspace/none'),
        () => box.move('/workspace/none', '/workspace/more'),
        () => box.removeFile('/workspace/none'),
      ],
    ],
    ['guest.is_a_directory', [() => box.readFile('/workspace'), () => box.writeFile('/workspace', 'x')]],
    ['guest.not_a_directory', [() => box.readFile('/workspace/plain/below'), () => namesIn('/workspace/plain')]],
    ['guest.invalid_path', [() => box.readFile('/workspace/loop')]],
    ['guest.user_not_found', [() => box.writeFile('/workspace/owned', 'x', { user: 'somebody' })]],
    // A pipe without a writer must not hold the agent.
    ['guest.bad_request', [() => box.readFile('/workspace/fifo')]],
  ];
  for (const [code, calls] of refusals) await assertRefused([code], calls);
  const ranges = [
    { offset: -1 },
    { length: -1 },
    { offset: Number.NaN },
    { length: Number.POSITIVE_INFINITY },
    { offset: 1e300 },
    { offset: 0.5 },
  ];
  await assertRefused(
    ['request.invalid'],
    [
      ...ranges.map((range) => () => box.openFile('/etc/passwd', range)),
      () => box.forward(0),
      () => box.forward(65_536),
      () => box.writeFile('/workspace/moded', 'x', { mode: '999' }),
    ],
  );
});
