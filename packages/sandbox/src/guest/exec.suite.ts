import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { collectOutput } from './collected-output.ts';
import type { GuestExec } from './exec.ts';
import { type AgentUnderTest, bytesOfAll, eventually } from './native-agent.ts';

async function finish(exec: GuestExec) {
  const [stdout, stderr, result] = await Promise.all([bytesOfAll(exec.stdout), bytesOfAll(exec.stderr), exec.result]);
  return { stdout: stdout.toString(), stderr: stderr.toString(), result };
}

/** Reads from an output until `text` has come. */
async function readUntil(output: AsyncIterator<Uint8Array>, text: string): Promise<string> {
  let seen = '';
  while (!seen.includes(text)) {
    const next = await output.next();
    assert.notEqual(next.done, true, `ended with ${JSON.stringify(seen)} before ${JSON.stringify(text)}`);
    seen += Buffer.from(next.value ?? []).toString();
  }
  return seen;
}

export function execSuite(get: () => AgentUnderTest): void {
  describe('exec', () => {
    test('argv: separate outputs, exit code, usage', async () => {
      const exec = get().client.exec({ argv: ['/bin/sh', '-c', 'echo out; echo err >&2; exit 3'] });
      assert.ok((await exec.started).pid > 1);
      const { stdout, stderr, result } = await finish(exec);
      assert.deepEqual([stdout, stderr], ['out\n', 'err\n']);
      assert.equal(result.exitCode, 3);
      assert.equal(result.signal, null);
      assert.equal(result.timedOut, false);
      assert.equal(result.oomKills, 0);
      assert.ok(result.elapsedNs > 0n);
    });

    test('shell, env, cwd and an argument of 60,000 bytes', async () => {
      const { agent, client } = get();
      const shell = client.exec({
        shell: 'echo "$GREETING $PWD"',
        env: { GREETING: 'grüß=dich' },
        cwd: agent.directory,
      });
      assert.equal((await finish(shell)).stdout, `grüß=dich ${agent.directory}\n`);
      const long = 'x'.repeat(60_000);
      assert.equal((await finish(client.exec({ argv: ['/bin/echo', long] }))).stdout, `${long}\n`);
    });

    test('a signal that ended it', async () => {
      const { result } = await finish(get().client.exec({ shell: 'kill -USR1 $$' }));
      assert.deepEqual([result.exitCode, result.signal], [null, 10]);
    });

    test('what cannot be run has an error of its own', async () => {
      const { agent, client } = get();
      const plain = join(agent.directory, 'plain');
      await writeFile(plain, 'text');
      const refused = async (command: Parameters<typeof client.exec>[0], code: string) => {
        const exec = client.exec(command);
        await assert.rejects(exec.result, { code }, code);
        await assert.rejects(exec.started, { code });
        await assert.rejects(bytesOfAll(exec.stdout), { code });
      };
      await refused({ argv: ['/no/such/file'] }, 'guest.not_found');
      await refused({ argv: ['no-such-command'] }, 'guest.not_found');
      await refused({ argv: [agent.directory] }, 'guest.not_executable');
      await refused({ argv: [plain] }, 'guest.not_executable');
      await refused({ argv: ['true'], cwd: '/no/such' }, 'guest.cwd_not_found');
      await refused({ argv: ['true'], user: 'nobody-of-this-name' }, 'guest.user_not_found');
    });

    test('standard input of a megabyte comes back whole', async () => {
      const input = randomBytes(1_000_000);
      const exec = get().client.exec({ argv: ['cat'], stdin: true });
      const output = bytesOfAll(exec.stdout);
      await exec.write(input.subarray(0, 10));
      await exec.write(input.subarray(10));
      exec.end();
      assert.ok((await output).equals(input));
      assert.equal((await exec.result).exitCode, 0);
      await assert.rejects(exec.write(Buffer.from('x')), { code: 'guest.stdin_closed' });
    });

    test('without stdin it reads nothing, and writing is refused', async () => {
      const exec = get().client.exec({ argv: ['cat'] });
      await assert.rejects(exec.write(Buffer.from('x')), { code: 'guest.stdin_closed' });
      assert.equal((await finish(exec)).stdout, '');
    });

    test('a process that does not read stops its writer', async () => {
      const exec = get().client.exec({ argv: ['sleep', '1000'], stdin: true });
      await exec.started;
      let written = 0;
      const writing = (async () => {
        for (;;) {
          await exec.write(Buffer.alloc(65_536));
          written += 65_536;
        }
      })();
      writing.catch(() => undefined);
      await eventually('the credit is used up', () => written >= 262_144);
      // The agent has had all this; a round trip more shows that it gives no further credit.
      await get().client.ping();
      await delay(50);
      assert.ok(written <= 4 * 262_144, `${written} bytes were taken`);
      exec.cancel();
      await exec.result.catch(() => undefined);
      await assert.rejects(writing, (error: { code?: string }) =>
        ['guest.stdin_closed', 'guest.cancelled'].includes(error.code ?? ''),
      );
    });

    test('output that nobody reads stops the process and costs no more than its window', async () => {
      const { client } = get();
      const exec = client.exec({ argv: ['sh', '-c', 'head -c 100M /dev/zero; echo done >&2'] });
      await eventually('the window is full', () => client.load.queuedBytes === 262_144);
      await client.ping();
      assert.equal(client.load.queuedBytes, 262_144);
      assert.equal((await collectOutput(exec.stdout, 0)).droppedBytes, 104_857_600);
      assert.equal((await bytesOfAll(exec.stderr)).toString(), 'done\n');
      assert.equal((await exec.result).exitCode, 0);
    });

    test('1 GB of output is counted, not kept', { timeout: 120_000 }, async () => {
      const exec = get().client.exec({ argv: ['head', '-c', '1G', '/dev/zero'] });
      const before = process.memoryUsage().rss;
      let most = 0;
      const watched = (async function* () {
        for await (const chunk of exec.stdout) {
          most = Math.max(most, process.memoryUsage.rss());
          yield chunk;
        }
      })();
      const { bytes, droppedBytes } = await collectOutput(watched, 1_000_000);
      assert.equal(bytes.byteLength, 1_000_000);
      assert.equal(droppedBytes, 2 ** 30 - 1_000_000);
      assert.equal((await exec.result).exitCode, 0);
      assert.ok(most - before < 128 * 1024 * 1024, `grew by ${most - before}`);
    });

    test('leaving the output early, and cancel, end the process', async () => {
      const { client, agent } = get();
      const mark = join(agent.directory, 'lived-on');
      const left = client.exec({ shell: `echo go; sleep 1000; touch ${mark}` });
      for await (const _ of left.stdout) break;
      await assertEnded(left);
      const cancelled = client.exec({ shell: `trap '' TERM; sleep 1000; touch ${mark}` });
      const { pid } = await cancelled.started;
      cancelled.cancel();
      cancelled.cancel();
      await assertEnded(cancelled);
      await assert.rejects(access(`/proc/${pid}`));
      await assert.rejects(access(mark));
    });

    test('a timeout kills the whole tree', async () => {
      const exec = get().client.exec({ shell: 'sleep 1000 & echo $!; wait', timeoutMs: 100 });
      const { stdout, result } = await finish(exec);
      assert.equal(result.timedOut, true);
      assert.equal(result.signal, 9);
      await eventually('the grandchild is gone', () => ended(stdout.trim()));
    });

    test('signals reach the process group', async () => {
      const exec = get().client.exec({
        shell: 'trap "echo caught; exit 7" INT; echo ready; while :; do sleep 0.01; done',
      });
      const output = exec.stdout[Symbol.asyncIterator]();
      await readUntil(output, 'ready');
      exec.signal(2);
      await readUntil(output, 'caught');
      assert.equal((await exec.result).exitCode, 7);
    });

    test('a terminal: size, resize, control characters', async () => {
      const exec = get().client.exec({
        shell:
          'trap "stty size" WINCH; stty size; test -t 0 -a -t 1 -a -t 2 && echo terminal; while :; do read l && echo "<$l>"; done',
        pty: { rows: 30, cols: 100 },
      });
      const output = exec.stdout[Symbol.asyncIterator]();
      assert.match(await readUntil(output, 'terminal'), /30 100/);
      await exec.write(Buffer.from('hello\n'));
      await readUntil(output, '<hello>');
      exec.resize({ rows: 40, cols: 120 });
      await exec.write(Buffer.from('\n'));
      await readUntil(output, '40 120');
      await exec.write(Buffer.from([3]));
      const { exitCode, signal } = await exec.result;
      assert.ok(signal === 2 || exitCode === 130, `${exitCode} ${signal}`);
    });

    test('fifty at once, each with its own output', async () => {
      const { client } = get();
      const all = await Promise.all(Array.from({ length: 50 }, (_, i) => finish(client.exec({ shell: `echo ${i}` }))));
      assert.deepEqual(
        all.map(({ stdout }) => stdout),
        Array.from({ length: 50 }, (_, i) => `${i}\n`),
      );
      assert.equal(client.load.streams, 0);
    });
  });
}

/** True for a process that is gone, or dead and only waits for its parent to notice. */
async function ended(pid: string): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z');
  return stat.slice(stat.lastIndexOf(')')).startsWith(') Z');
}

/** A cancelled exec ends with `guest.cancelled` or with the signal that killed it. */
async function assertEnded(exec: GuestExec): Promise<void> {
  const end = await exec.result.then(
    ({ signal }) => signal,
    (error: { code?: string }) => error.code,
  );
  assert.ok(end === 9 || end === 'guest.cancelled', `${end}`);
}
