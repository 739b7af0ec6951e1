import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { GuestClient } from './client.ts';
import { collectOutput } from './collected-output.ts';
import { HostileGuest } from './hostile-guest.ts';
import { SeededRandom } from './seeded-random.ts';

const seed = 20_260_401;
const wantedMutations = 20_000;
/** No session needs more turns of the event loop than this to have all its promises settled. */
const maxTurns = 200;

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** Reads to the end, some, or nothing, as the dice say. */
async function consume(output: AsyncIterable<unknown>, random: SeededRandom): Promise<void> {
  const appetite = random.pick([0, 1, 3, Number.POSITIVE_INFINITY]);
  if (appetite === 0) return;
  let read = 0;
  for await (const _ of output) {
    read += 1;
    if (read >= appetite) break;
  }
}

/** One operation of each kind that has a life of its own. */
function workload(client: GuestClient, random: SeededRandom): (() => Promise<unknown>)[] {
  return [
    async () => {
      const exec = client.exec({ argv: ['x'], stdin: true });
      exec.write(Buffer.alloc(random.below(400_000), 1)).catch(() => undefined);
      exec.end();
      if (random.oneIn(4)) exec.cancel();
      if (random.oneIn(4)) exec.signal(15);
      return Promise.all([exec.started, consume(exec.stdout, random), collectOutput(exec.stderr, 100), exec.result]);
    },
    async () => consume((await client.read('/a')).body, random),
    async () => client.write('/a', Buffer.alloc(random.below(300_000), 1)),
    async () => {
      const logs = client.logs('a', { follow: true });
      return Promise.all([consume(logs.output, random), logs.done]);
    },
    async () => consume(client.watch('/a').events, random),
    async () => {
      const tar = client.tarOut('/a');
      return Promise.all([consume(tar.body, random), tar.done]);
    },
    async () => {
      const socket = await client.connect(80);
      socket.write(random.bytes(random.below(1_000)));
      if (random.oneIn(2)) return socket.resume();
      return random.oneIn(2) ? socket.destroy() : socket.end();
    },
    async () => client.listen({ port: 80 }, (socket) => (random.oneIn(2) ? socket.pipe(socket) : socket.destroy())),
    async () => Promise.all([client.ps(), client.list('/a'), client.stat('/a'), client.stats(), client.ping()]),
    async () => client.spawn({ name: 'a', argv: ['x'] }),
    async () => client.stop('a'),
  ];
}

async function within(settled: Promise<unknown>, what: string): Promise<void> {
  let done = false;
  const finish = (): void => {
    done = true;
  };
  settled.then(finish, finish);
  for (let i = 0; i < maxTurns && !done; i += 1) await turn();
  assert.ok(done, `${what} did not settle`);
}

/** One connection. Returns how many mutated frames it took. */
async function session(random: SeededRandom): Promise<number> {
  const guest = new HostileGuest(random, random.pick([2, 8, 30]));
  const client = await GuestClient.connect(guest.peer.host, {
    takeover: random.oneIn(2),
    timeoutMs: 60_000,
    random: () => random.bytes(16),
  });
  const work: Promise<unknown>[] = [];
  const unruly = random.oneIn(5);
  for (let round = 0; round < 30 && !guest.peer.host.destroyed; round += 1) {
    const starts = workload(client, random);
    const start = starts[random.below(starts.length)];
    // Rejections are what a broken guest deserves; that each promise settles is what counts.
    if (start !== undefined) work.push(start().catch(() => undefined));
    if (unruly) guest.act();
    await turn();
    const { streams, guestStreams, queuedBytes } = client.load;
    assert.ok(streams <= 1_024 && guestStreams <= 256 && queuedBytes <= streams * 2 * 262_144);
  }
  if (!guest.peer.host.destroyed) {
    guest.honest = true;
    guest.complete();
    await within(client.ping(), 'a ping after the mess');
  }
  client.close();
  await within(client.closed, 'closed');
  await within(Promise.all(work), 'an operation');
  assert.deepEqual(client.load, { streams: 0, guestStreams: 0, listeners: 0, queuedBytes: 0 });
  return guest.mutated;
}

/** Twice, since the first collection only starts to free what buffers held. */
async function usedBytes(): Promise<number> {
  for (let i = 0; i < 2; i += 1) {
    collectGarbage();
    await turn();
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test('a hostile guest cannot crash the client, hang it or make it grow', { timeout: 300_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = new SeededRandom(seed);
  let mutated = 0;
  let sessions = 0;
  let baseline = 0;
  while (mutated < wantedMutations) {
    mutated += await session(random).catch((error: unknown) => {
      throw new Error(`seed ${seed}, session ${sessions}`, { cause: error });
    });
    sessions += 1;
    if (sessions === 200) baseline = await usedBytes();
    if (sessions % 1_000 === 0) {
      const grown = (await usedBytes()) - baseline;
      assert.ok(grown < 8 * 1024 * 1024, `${grown} bytes more after ${sessions} sessions`);
    }
  }
  t.diagnostic(`${mutated} mutated frames in ${sessions} sessions`);
  assert.ok(sessions >= 1_000, 'memory was measured');
});
