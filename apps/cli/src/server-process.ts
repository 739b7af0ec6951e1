import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, errorCatalogue, HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { type Configuration, checkout, readServerRecord, type ServerRecord } from './configuration.ts';

const serverProgram = join(checkout, 'apps/server/src/main.ts');
const pollMs = 50;
const probeTimeoutMs = 2_000;
/** Of the end of the server's log, shown when it did not start. */
const shownLogLines = 12;

export const serverLog = (home: string): string => join(home, 'log/server.log');
/** What a detached server says before it has its own log, and what Node says when it crashes. */
const startLog = (home: string): string => join(home, 'log/start.log');

/** True when the process is a server of Holdfast: a process id alone may have been given to another program since. */
const isServer = async (pid: number): Promise<boolean> => {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('apps/server/src/main.ts');
  } catch {
    return false;
  }
};

/** The server that runs on the data folder, null when none does. It may not be ready yet. */
export const runningServer = async (home: string): Promise<ServerRecord | null> => {
  const record = readServerRecord(home);
  return record !== null && (await isServer(record.pid)) ? record : null;
};

/** Whether the server says that it can serve. */
export const isReady = async (url: string): Promise<boolean> => {
  try {
    const answer = await fetch(new URL('/readyz', url), { signal: AbortSignal.timeout(probeTimeoutMs) });
    await answer.body?.cancel();
    return answer.ok;
  } catch {
    return false;
  }
};

const environment = (configuration: Configuration, port: number | undefined) => ({
  ...configuration.inherited,
  HOLDFAST_HOME: configuration.home,
  ...(port === undefined ? {} : { HOLDFAST_PORT: String(port) }),
});

/** Starts the server with this command's own streams; it ends with it. */
export const spawnForeground = (configuration: Configuration, port: number | undefined): ChildProcess =>
  spawn(process.execPath, [serverProgram], { stdio: 'inherit', env: environment(configuration, port) });

const reported = z.object({
  error: z.string().refine((code): code is ErrorCode => Object.hasOwn(errorCatalogue, code)),
  msg: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
});

/** The error that the server itself reported last, with its code, else what it printed last. */
const startError = (text: string, reason: string, log: string): HoldfastError => {
  const lines = text.trimEnd().split('\n').slice(-shownLogLines);
  for (const line of lines.toReversed()) {
    try {
      const { error, msg, details } = reported.parse(JSON.parse(line));
      return new HoldfastError(error, msg, { ...details, log });
    } catch {
      // Not the line that tells it.
    }
  }
  const details = { log, issues: lines };
  return new HoldfastError('cli.server_start_failed', `The server did not start: ${reason}. Log: ${log}`, details);
};

/**
 * Starts a server that outlives this command and waits until it is ready. When it ends, or is not ready in time and so is
 * stopped again, throws the error that it reported, else `cli.server_start_failed` with the end of what it printed.
 */
export const startDetached = async (
  configuration: Configuration,
  options: { readonly port?: number | undefined; readonly waitMs: number },
): Promise<ServerRecord> => {
  const { home } = configuration;
  const log = startLog(home);
  let descriptor: number;
  try {
    mkdirSync(join(home, 'log'), { recursive: true, mode: 0o700 });
    descriptor = openSync(log, 'w', 0o600);
  } catch (cause) {
    throw new HoldfastError('home.unusable', `The data folder ${home} cannot be written.`, { home }, { cause });
  }
  const child = spawn(process.execPath, [serverProgram], {
    detached: true,
    stdio: ['ignore', descriptor, descriptor],
    env: environment(configuration, options.port),
  });
  closeSync(descriptor);
  child.unref();
  const end: { reason: string | null } = { reason: null };
  child.once('error', (error) => {
    end.reason = error.message;
  });
  child.once('exit', (code, signal) => {
    end.reason = `ended with ${signal ?? `exit code ${code}`}`;
  });
  const deadline = performance.now() + options.waitMs;
  while (end.reason === null && performance.now() < deadline) {
    const record = readServerRecord(home);
    if (record !== null && record.pid === child.pid && (await isReady(record.url))) return record;
    await sleep(pollMs);
  }
  if (end.reason === null) child.kill('SIGTERM');
  const reason = end.reason ?? `not ready after ${options.waitMs / 1000} s`;
  throw startError(await readFile(log, 'utf8').catch(() => ''), reason, log);
};

/** Asks a server to stop and waits until its process is gone. Throws `resource.conflict` when it does not go in time. */
export const stopServer = async ({ pid }: ServerRecord, waitMs: number): Promise<void> => {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (cause) {
    if (!(await isServer(pid))) return;
    throw new HoldfastError('resource.conflict', `The server (process ${pid}) cannot be stopped.`, { pid }, { cause });
  }
  const deadline = performance.now() + waitMs;
  while (await isServer(pid)) {
    if (performance.now() >= deadline) {
      throw new HoldfastError(
        'resource.conflict',
        `The server (process ${pid}) still stops after ${waitMs / 1000} s.`,
        {
          pid,
        },
      );
    }
    await sleep(pollMs);
  }
};
