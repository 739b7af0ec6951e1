import { fileURLToPath } from 'node:url';
import type { Client, Sandbox, Trace } from '@holdfast/sdk';
import { type Count, readCounter, waitForCount } from './counter.ts';
import type { OpenSpan } from './spans.ts';

/** Where the repository is in the sandbox. */
export const repositoryPath = '/root/slots';

export interface TestCounts {
  readonly passed: number;
  readonly failed: number;
}

/** What a run of the test suite said of itself; null when the text is no such run. */
export const testCounts = (output: string): TestCounts | null => {
  const passed = /^\S* ?pass (\d+)$/m.exec(output)?.[1];
  const failed = /^\S* ?fail (\d+)$/m.exec(output)?.[1];
  return passed === undefined || failed === undefined ? null : { passed: Number(passed), failed: Number(failed) };
};

const must = async (sandbox: Sandbox, command: string): Promise<string> => {
  const result = await sandbox.exec(command, { cwd: repositoryPath, timeoutMs: 60_000 });
  if (result.exitCode !== 0) throw new Error(`"${command}" failed: ${result.stderr.slice(0, 500)}`);
  return result.stdout;
};

/** Copies the repository in and makes its first commit, whose short hash is returned. */
export const uploadRepository = async (sandbox: Sandbox): Promise<string> => {
  await sandbox.uploadDirectory(fileURLToPath(new URL('repo', import.meta.url)), repositoryPath);
  const author = '-c user.name=Demo -c user.email=demo@example.com';
  const commit = `git init -q -b main && git add -A && git ${author} commit -q -m "slots 1.4.2" && git rev-parse --short HEAD`;
  return (await must(sandbox, commit)).trim();
};

export const readDiff = (sandbox: Sandbox): Promise<string> => must(sandbox, 'git --no-pager diff --no-color');

export interface Standby {
  readonly ms: number;
  readonly before: Count;
  /** Bytes that the sandbox takes while it stands by. */
  readonly storedBytes: number;
}

/** Puts the sandbox in standby and makes sure that it is. */
export const standBy = async (client: Client, sandbox: Sandbox, span: OpenSpan): Promise<Standby> => {
  const before = await readCounter(sandbox);
  const begun = performance.now();
  await sandbox.through(client.with({ traceparent: span.traceparent })).standby();
  const ms = performance.now() - begun;
  const { state, storedBytes } = await sandbox.info();
  if (state !== 'standby') throw new Error(`The sandbox should stand by, and is ${state}.`);
  return { ms, before, storedBytes };
};

export interface Fork {
  readonly id: string;
  readonly hostname: string;
  readonly pid: number;
  readonly countAtFirst: number;
  readonly countLater: number;
  readonly hasFix: boolean;
}

/** What a fork is: its own name, the corrected file, and the counter that went on counting. */
export const inspectFork = async (fork: Sandbox, corrected: string): Promise<Fork> => {
  const first = await readCounter(fork);
  const hostname = (await fork.exec(['hostname'])).stdout.trim();
  const text = await fork.readText(`${repositoryPath}/src/interval.js`);
  const later = await waitForCount(fork, first.value);
  return {
    id: fork.idOrName,
    hostname,
    pid: later.pid,
    countAtFirst: first.value,
    countLater: later.value,
    hasFix: text === corrected,
  };
};

const pollMs = 50;
const deadlineMs = 10_000;

/** Reads a trace once `spans` spans of it have arrived: they are stored shortly after they are reported. */
export const readTrace = async (client: Client, id: string, spans: number): Promise<Trace> => {
  const begun = performance.now();
  for (;;) {
    const trace = await client.getTrace({ params: { id } }).catch((error: unknown) => {
      if (performance.now() - begun > deadlineMs) throw error;
      return null;
    });
    if (trace !== null && (trace.spanCount >= spans || performance.now() - begun > deadlineMs)) return trace;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
};

export interface ModelChoice {
  readonly model: string;
  /** Where it was found, for the screen. */
  readonly live: boolean;
}

const recordedModel = 'recorded/fix-failing-test';

/** The model to use: the one asked for, else a live one that the server lists, else the recorded replies. */
export const chooseModel = async (client: Client, asked: string | null): Promise<ModelChoice> => {
  const { data } = await client.listModels();
  const live = asked ?? data.find(({ id, owned_by }) => owned_by !== 'recorded' && !id.startsWith('recorded/'))?.id;
  if (live !== undefined) return { model: live, live: !live.startsWith('recorded/') };
  if (data.some(({ id }) => id === recordedModel)) return { model: recordedModel, live: false };
  throw new Error(`The server serves no model: neither a live one nor ${recordedModel}.`);
};
