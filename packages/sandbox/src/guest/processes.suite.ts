import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type AgentUnderTest, eventually } from './native-agent.ts';
import type { GuestLogs } from './processes.ts';

async function textOf(logs: GuestLogs): Promise<string> {
  let text = '';
  for await (const { stream, data } of logs.output) text += `${stream}${Buffer.from(data).toString()}`;
  return text;
}

export function processesSuite(get: () => AgentUnderTest): void {
  describe('background processes', () => {
    test('start, list, follow, stop', async () => {
      const { client } = get();
      const { pid } = await client.spawn({
        name: 'counter',
        shell: 'echo one; sleep 0.05; echo two >&2; exec sleep 1000',
      });
      const [record] = await client.ps();
      assert.equal(record?.name, 'counter');
      assert.equal(record?.pid, pid);
      assert.equal(record?.state, 'running');
      assert.ok(Math.abs((record?.startedMs ?? 0) - Date.now()) < 60_000);
      assert.deepEqual([record?.exitCode, record?.signal, record?.logDroppedBytes], [null, null, 0]);
      assert.ok((record?.argv.length ?? 0) > 0);
      const logs = client.logs('counter', { follow: true });
      const seen: string[] = [];
      for await (const { stream, data } of logs.output) {
        seen.push(`${stream}${Buffer.from(data).toString()}`);
        if (seen.join('').includes('two')) break;
      }
      assert.equal(seen.join(''), '1one\n2two\n');
      await logs.done.catch(() => undefined);
      await assert.rejects(client.spawn({ name: 'counter', argv: ['true'] }), { code: 'guest.name_taken' });
      const exit = await client.stop('counter');
      assert.equal(exit.signal, 15);
      assert.deepEqual(await client.ps(), []);
      await assert.rejects(client.stop('counter'), { code: 'guest.process_not_found' });
      await assert.rejects(client.logs('counter').done, { code: 'guest.process_not_found' });
    });

    test('one that has ended keeps its log and its exit until it is stopped', async () => {
      const { client } = get();
      await client.spawn({ name: 'short', shell: 'echo bye; exit 4' });
      const followed = client.logs('short', { follow: true });
      assert.equal(await textOf(followed), '1bye\n');
      assert.deepEqual(await followed.done, { state: 'exited', exitCode: 4, signal: null });
      const again = client.logs('short', { limitBytes: 2 });
      assert.equal(await textOf(again), '1e\n');
      assert.equal((await client.ps())[0]?.exitCode, 4);
      assert.equal((await client.stop('short')).exitCode, 4);
    });

    test('a log is bounded, and says what it lost', async () => {
      const { client } = get();
      await client.spawn({ name: 'loud', shell: 'head -c 1M /dev/zero; echo end', logLimitBytes: 4_096 });
      await eventually('it has ended', async () => (await client.ps())[0]?.state === 'exited');
      const [record] = await client.ps();
      const text = await textOf(client.logs('loud'));
      assert.ok(text.endsWith('end\n') && text.length <= 4_200, `${text.length}`);
      assert.ok((record?.logDroppedBytes ?? 0) >= 1_048_576 + 4 - 4_096);
      await client.stop('loud');
    });

    test('one that ignores the signal is killed', async () => {
      const { client } = get();
      await client.spawn({ name: 'stubborn', shell: 'trap "" TERM; echo ready; while :; do sleep 0.1; done' });
      for await (const _ of client.logs('stubborn', { follow: true }).output) break;
      const exit = await client.stop('stubborn', { timeoutMs: 50 });
      assert.equal(exit.signal, 9);
    });
  });
}
