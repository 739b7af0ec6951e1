import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Built, build, until } from './agent-program.ts';
import { credit, fields, frame, hello, open, type } from './wire.ts';

/** Set HOLDFAST_FUZZ_SEED to repeat a run, HOLDFAST_FUZZ_FRAMES for a longer one. */
const seed = Number(process.env.HOLDFAST_FUZZ_SEED ?? Date.now() % 2 ** 31);
const wanted = Number(process.env.HOLDFAST_FUZZ_FRAMES ?? 4_000);
const sessionFrames = 20;

let built: Built;
before(async () => {
  built = await build(true);
});
after(() => built.remove());

/** mulberry32: small, and the same everywhere. */
function generator(start: number): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Frames that are right, all below `folder`. None removes a tree: a mutated path must not cost anything outside. */
function material(folder: string, stream: number, tar: Buffer): Buffer[] {
  const at = (name: string): [number, string] => [30, join(folder, name)];
  const earlier = Math.max(1, stream - 2);
  return [
    open(stream, [1, 1]),
    open(stream, [1, 2], [10, 'cat'], [26, 1], [12, 'A=b'], [13, '/'], [15, 500]),
    open(stream, [1, 2], [11, 'echo x; echo y >&2'], [16, 1], [17, 10], [18, 20]),
    open(stream, [1, 3], [42, `p${stream}`], [11, 'echo x; sleep 1'], [27, 5000]),
    open(stream, [1, 4]),
    open(stream, [1, 5], [42, 'p1'], [28, 1], [48, 10]),
    open(stream, [1, 6], [42, 'p1'], [19, 9], [15, 1]),
    open(stream, [1, 10], at('file'), [39, 3], [40, 1000]),
    Buffer.concat([
      open(stream, [1, 11], at('new'), [32, 0o600], [43, 1]),
      frame(type.data, 0, stream, Buffer.alloc(100, 'x')),
      frame(type.eof, 0, stream),
    ]),
    open(stream, [1, 12], at('link')),
    open(stream, [1, 13], at(''), [48, 2], [49, '=file']),
    open(stream, [1, 13], at(''), [49, '~6669']),
    open(stream, [1, 14], at('d/e'), [43, 1], [32, 0o700]),
    open(stream, [1, 17], at('')),
    Buffer.concat([
      open(stream, [1, 18], at('unpacked')),
      frame(type.data, 0, stream, tar.subarray(0, 4096)),
      frame(type.eof, 0, stream),
    ]),
    open(stream, [1, 19], at(''), [41, 1], [46, 15]),
    open(stream, [1, 20], [50, '127.0.0.1'], [51, 1]),
    open(stream, [1, 21], [51, 0]),
    open(stream, [1, 21], [30, join(folder, 's')], [32, 0o600]),
    open(stream, [1, 33], [64, 1]),
    open(stream, [1, 34]),
    open(stream, [1, 35], [60, 5], [61, Buffer.alloc(32)], [62, 'host'], [63, '0'.repeat(32)]),
    open(stream, [1, 36]),
    frame(type.data, 0, earlier, Buffer.alloc(64, 'y')),
    frame(type.eof, 0, earlier),
    frame(type.cancel, 0, earlier),
    frame(type.ctl, 0, earlier, fields([1, 50], [19, 15])),
    frame(type.ctl, 0, earlier, fields([1, 51], [17, 5], [18, 5])),
    credit(1, earlier, 1000),
    frame(type.result, 0, 2),
    frame(type.data, 0, 2, Buffer.from('z')),
  ];
}

function mutate(bytes: Buffer, random: (below: number) => number): Buffer {
  const changed = Buffer.from(bytes);
  for (let i = random(2) * random(5); i > 0; i--) {
    const at = random(changed.length);
    const choice = random(4);
    if (choice === 0) changed[at] = random(256);
    else if (choice === 1) changed[at] = (changed[at] ?? 0) ^ (1 << random(8));
    else if (choice === 2) changed[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)] ?? 0;
    // A payload that is damaged behind a sound header reaches further in.
    else if (changed.length > 18) changed[12 + random(changed.length - 12)] = random(256);
  }
  return random(12) === 0 ? changed.subarray(0, random(changed.length)) : changed;
}

/** Sends it all, then begins a session as a host that takes over does. Throws when that is not answered. */
async function session(path: string, bytes: Uint8Array, nonce: Uint8Array): Promise<void> {
  const socket = connect(path);
  const answer = frame(type.hello, 0, 0, fields([2, 1], [3, nonce])).subarray(12);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('HELLO is not answered')), 20_000);
    let seen: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      seen = Buffer.concat([seen.subarray(-1024), chunk]);
      if (!seen.includes(answer)) return;
      clearTimeout(timer);
      resolve();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the agent closed the connection')));
    socket.write(Buffer.concat([hello(), bytes, Buffer.alloc(65_548), hello(nonce)]));
  }).finally(() => socket.destroy());
}

test('no sequence of damaged frames crashes or hangs the agent', async (t) => {
  const random = generator(seed);
  const folder = join(built.folder, 'fuzz');
  await mkdir(folder);
  await writeFile(join(folder, 'file'), 'contents');
  execFileSync('ln', ['-s', 'file', join(folder, 'link')]);
  const tar = execFileSync('tar', ['--format=pax', '-cf', '-', '.'], { cwd: folder });
  // As nobody where that is possible: what the damaged frames make it do is bounded by that.
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  await chmod(built.folder, 0o777);
  await chmod(folder, 0o777);
  const socket = join(built.folder, 'fuzz.sock');
  // Another user need not be able to reach the folder of the build.
  const program = join(built.folder, 'agent');
  await copyFile(built.program, program);
  const child = spawn(program, ['--listen', socket], {
    ...nobody,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
  });
  t.after(() => child.kill('SIGKILL'));
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  await until(
    () =>
      session(socket, Buffer.alloc(0), Buffer.alloc(16, 9)).then(
        () => true,
        () => false,
      ),
    'the agent to serve',
  );
  for (let sent = 0, round = 0; sent < wanted; round++) {
    const bytes: Buffer[] = [];
    for (let i = 0; i < sessionFrames; i++, sent++) {
      const choices = material(folder, 2 * i + 1, tar);
      bytes.push(mutate(choices[random(choices.length)] ?? Buffer.alloc(0), random));
    }
    const nonce = Buffer.alloc(16);
    nonce.writeUInt32LE(round + 1);
    await session(socket, Buffer.concat(bytes), nonce).catch((error: unknown) => {
      throw new Error(`seed ${seed}, session ${round}: ${String(error)}\n${complaints}`);
    });
  }
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  assert.equal(await exit, 0, `seed ${seed}\n${complaints}`);
  assert.equal(complaints, '', `seed ${seed}`);
});
