import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { GuestClient } from './client.ts';
import { encodeFrame } from './frame.ts';
import { type AgentUnderTest, bytesOfAll } from './native-agent.ts';
import { FrameType } from './tags.ts';

const options = { timeoutMs: 10_000, random: () => randomBytes(16) };

export function sessionSuite(get: () => AgentUnderTest): void {
  describe('session and system', () => {
    test('hello names the agent, the boot and its features', () => {
      const { agent, bootId, features } = get().client.hello;
      assert.match(agent, /^holdfast-agent/);
      assert.match(bootId, /^[0-9a-f-]{36}$/);
      assert.ok(features.includes('exec') && features.includes('watch'));
    });

    test('ping tells the time, stats what there is', async () => {
      const { client } = get();
      const before = BigInt(Date.now() - 1_000) * 1_000_000n;
      assert.ok((await client.ping()) > before);
      const stats = await client.stats();
      assert.ok(stats.memoryTotalBytes > stats.memoryAvailableBytes && stats.memoryAvailableBytes > 0);
      assert.ok(stats.diskTotalBytes >= stats.diskFreeBytes && stats.processes > 0);
      assert.equal(stats.background, 0);
      await client.sync();
    });

    test('a thousand requests at once are answered in one go', async () => {
      const { client } = get();
      const answers = await Promise.all(Array.from({ length: 1_000 }, () => client.ping()));
      assert.equal(answers.length, 1_000);
      assert.equal(client.load.streams, 0);
    });

    // This agent runs as an ordinary program, and may not change the machine that it runs on.
    test('clock, seed, identity and restore are understood', async () => {
      const { client } = get();
      const code = 'guest.permission_denied';
      const timeNs = BigInt(Date.now()) * 1_000_000n;
      await assert.rejects(client.clock(timeNs), { code });
      await assert.rejects(client.reseed(randomBytes(64)), { code });
      await assert.rejects(client.identity({ hostname: 'a', machineId: '0'.repeat(32) }), { code });
      await assert.rejects(client.restore({ timeNs, entropy: randomBytes(512), hostname: 'a' }), { code });
    });

    test('a takeover succeeds in the middle of any frame, and ends what the earlier session ran', async () => {
      const cut = encodeFrame(FrameType.data, 0, 1, randomBytes(40_000));
      await using agent = await get().agent.another();
      for (const length of [0, 1, 11, 12, 13, 20_000]) {
        const socket = await agent.open();
        const first = GuestClient.start(socket, { ...options, takeover: false });
        const exec = first.exec({ argv: ['sleep', '1000'], stdin: true });
        await exec.started;
        socket.removeAllListeners();
        socket.write(cut.subarray(0, length));
        const second = GuestClient.start(socket, { ...options, takeover: true });
        assert.ok((await second.ping()) > 0n, `cut after ${length}`);
        assert.equal((await second.stats()).foreground, 0);
        first.close();
        second.close();
      }
    });

    test('a freeze that keeps execs only pauses them', async () => {
      const { client } = get();
      const exec = client.exec({ argv: ['cat'], stdin: true });
      const output = exec.stdout[Symbol.asyncIterator]();
      await exec.started;
      await client.freeze({ sync: false, foreground: 'keep' });
      await exec.write(Buffer.from('later'));
      await client.ping();
      await client.thaw();
      assert.equal(Buffer.from((await output.next()).value ?? []).toString(), 'later');
      exec.end();
      assert.equal((await exec.result).exitCode, 0);
    });

    test('freeze stops processes until thaw; it needs consent while an exec runs', async () => {
      const { client } = get();
      const exec = client.exec({ shell: 'while :; do echo tick; sleep 0.05; done', stdin: true });
      const ticks = bytesOfAll(exec.stdout);
      ticks.catch(() => undefined);
      await exec.started;
      await assert.rejects(client.freeze({ sync: false, foreground: 'refuse' }), { code: 'guest.busy' });
      await client.freeze({ sync: true, foreground: 'detach' });
      const [detached, ...others] = await client.ps();
      assert.deepEqual(others, []);
      assert.match(detached?.name ?? '', /^exec-\d+$/);
      assert.equal(detached?.state, 'frozen');
      await assert.rejects(exec.result, { code: 'guest.cancelled' });
      await assert.rejects(ticks, { code: 'guest.cancelled' });
      await client.thaw();
      assert.equal((await client.ps())[0]?.state, 'running');
      await client.stop(detached?.name ?? '');
      assert.deepEqual(await client.ps(), []);
    });
  });
}
