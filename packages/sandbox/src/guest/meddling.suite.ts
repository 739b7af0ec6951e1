import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { GuestClient } from './client.ts';
import { collectOutput } from './collected-output.ts';
import { encodeFrame, FrameReader } from './frame.ts';
import { mutate } from './frame-mutation.ts';
import { type AgentUnderTest, bytesOfAll } from './native-agent.ts';
import { SeededRandom } from './seeded-random.ts';
import { FrameType } from './tags.ts';

const seed = 20_260_402;
const sessions = 150;

/** The agent's byte stream with one in `calm` of its frames broken on the way; HELLO passes. */
function meddled(socket: Socket, random: SeededRandom, calm: number): Duplex {
  const reader = new FrameReader((frame) => {
    const bytes = encodeFrame(frame.type, frame.channel, frame.stream, frame.payload);
    const spared = frame.type === FrameType.hello || !random.oneIn(calm);
    for (const part of spared ? [bytes] : mutate(bytes, random)) if (!line.destroyed) line.push(part);
  });
  const line = new Duplex({
    read: () => undefined,
    write: (bytes: Buffer, _encoding, callback) => void socket.write(bytes, () => callback()),
    destroy: (error, callback) => {
      socket.destroy();
      callback(error);
    },
  });
  socket.on('data', (chunk: Buffer) => reader.push(chunk));
  socket.on('error', () => undefined);
  return line;
}

export function meddlingSuite(get: () => AgentUnderTest): void {
  describe('a real agent whose frames are broken on the way', () => {
    test('each session ends with all its promises settled', { timeout: 120_000 }, async (t) => {
      t.diagnostic(`seed ${seed}`);
      const random = new SeededRandom(seed);
      await using agent = await get().agent.another();
      let broken = 0;
      for (let session = 0; session < sessions; session += 1) {
        const line = meddled(await agent.open(), random, random.pick([3, 10, 40]));
        const options = { takeover: false, timeoutMs: 10_000, random: () => random.bytes(16) };
        const client = GuestClient.start(line, options);
        const exec = client.exec({ shell: 'head -c 300000 /dev/zero; echo end >&2; cat', stdin: true });
        exec.end();
        const work = Promise.allSettled([
          collectOutput(exec.stdout, 1_000),
          collectOutput(exec.stderr, 1_000),
          exec.result,
          client.write(join(agent.directory, 'f'), random.bytes(1_000)),
          client.list('/'),
          client.read('/etc/passwd').then(({ body }) => bytesOfAll(body)),
          client.spawn({ name: 'p', argv: ['true'] }),
          client.stop('p'),
          client.ping(),
        ]);
        // What was swallowed on the way can leave an operation waiting: closing has to end it.
        await Promise.race([work, delay(100)]);
        client.close();
        const results = await work;
        broken += results.some(({ status }) => status === 'rejected') ? 1 : 0;
        assert.deepEqual(client.load, { streams: 0, guestStreams: 0, listeners: 0, queuedBytes: 0 });
      }
      assert.ok(broken > sessions / 4, `${broken} of ${sessions} sessions were broken`);
    });
  });
}
