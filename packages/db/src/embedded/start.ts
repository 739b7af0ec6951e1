import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Clock, HoldfastError, type Log, type Secret } from '@holdfast/core';
import type { Runner } from './command.ts';
import { type Layout, readText } from './layout.ts';
import { findPostmaster, findProcesses, type Postmaster, readPostmasterFile } from './postmaster.ts';

export const role = 'holdfast';

const startWaitMs = 120_000;
const keptLogBytes = 8_388_608;

const exited = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? -1));
  });

const logTail = async (layout: Layout, from: number): Promise<string> => {
  const file = await open(layout.log, 'r');
  try {
    const { size } = await file.stat();
    const start = Math.max(from, size - 4096);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.max(size - start, 0)), 0, size - start, start);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
};

const failed = (what: string, output: string, layout: Layout): HoldfastError =>
  new HoldfastError('database.start_failed', what, {
    folder: layout.folder,
    log: layout.log,
    output: output.trim().split('\n').slice(-8),
  });

/** Starts a program with its output in the log; it is no child of our terminal, so Ctrl-C does not reach it. */
const launch = async (layout: Layout, runner: Runner, program: 'initdb' | 'postgres', args: string[]) => {
  const { file, args: all } = runner.command(program, args);
  const log = await open(layout.log, 'a', 0o600);
  try {
    const before = (await log.stat()).size;
    const child = spawn(file, all, {
      cwd: layout.cluster,
      env: { ...runner.env },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    return { child, before, end: exited(child) };
  } finally {
    await log.close();
  }
};

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};

/** Makes the cluster under another name and renames it, so that a start cut short leaves no half cluster. */
export const initialise = async (layout: Layout, runner: Runner, password: Secret): Promise<void> => {
  for (const name of await readdir(layout.cluster))
    if (name.startsWith('init-')) await rm(join(layout.cluster, name), { recursive: true, force: true });
  const name = `init-${randomBytes(6).toString('hex')}`;
  const folder = join(layout.cluster, name);
  await mkdir(folder, { mode: 0o700 });
  await writeFile(join(folder, 'password'), password.reveal(), { mode: 0o600 });
  if (runner.uid !== null) {
    await chown(folder, runner.uid, runner.uid);
    await chown(join(folder, 'password'), runner.uid, runner.uid);
  }
  const inside = `${runner.cluster}/${name}`;
  const args = ['-D', `${inside}/data`, '-U', role, '--auth=scram-sha-256', `--pwfile=${inside}/password`];
  args.push('--encoding=UTF8', '--locale-provider=builtin', '--locale=C.UTF-8');
  const { before, end } = await launch(layout, runner, 'initdb', args);
  const code = await end.catch((cause: unknown) => {
    throw new HoldfastError('database.start_failed', 'initdb could not be started.', {}, { cause });
  });
  if (code !== 0) throw failed(`initdb ended with code ${code}.`, await logTail(layout, before), layout);
  await rename(join(folder, 'data'), layout.data);
  await syncFolder(layout.cluster);
  await rm(folder, { recursive: true, force: true });
};

const canBind = (port: number): Promise<number | null> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen({ host: '127.0.0.1', port }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : null));
    });
  });

/** The port of last time while it is free, so that other tools can keep it in their settings. */
const choosePort = async (layout: Layout): Promise<number> => {
  const last = Number.parseInt((await readText(layout.portFile)) ?? '', 10);
  if (Number.isSafeInteger(last) && last > 1023 && last < 65_536 && (await canBind(last)) !== null) return last;
  const port = await canBind(0);
  if (port === null) throw new HoldfastError('database.start_failed', 'No loopback port is free.');
  return port;
};

const settings = (port: number): string[] =>
  [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    'unix_socket_directories=',
    'fsync=on',
    'full_page_writes=on',
    'synchronous_commit=on',
    'password_encryption=scram-sha-256',
    'max_connections=100',
    'shared_buffers=64MB',
    'min_wal_size=32MB',
    'max_wal_size=256MB',
    'wal_level=minimal',
    'max_wal_senders=0',
    'jit=off',
    'timezone=UTC',
    'log_timezone=UTC',
    'log_min_messages=warning',
  ].flatMap((setting) => ['-c', setting]);

/**
 * A postmaster.pid whose number now belongs to a stranger stops PostgreSQL from starting. It may be removed only when
 * no process of this cluster is left at all, because it also carries the key of the shared memory that guards it.
 */
const clearStalePidFile = async (layout: Layout): Promise<void> => {
  const told = await readPostmasterFile(layout);
  if (told === null || (await findProcesses(layout)).length > 0) return;
  await rm(join(layout.data, 'postmaster.pid'), { force: true });
};

const rotateLog = async (layout: Layout): Promise<void> => {
  const size = await stat(layout.log).then(
    (s) => s.size,
    () => 0,
  );
  if (size > keptLogBytes) await rename(layout.log, `${layout.log}.1`);
};

type Attempt = { postmaster: Postmaster } | { output: string };

const attempt = async (layout: Layout, runner: Runner, clock: Clock): Promise<Attempt> => {
  await clearStalePidFile(layout);
  const port = await choosePort(layout);
  const { child, before, end } = await launch(layout, runner, 'postgres', [
    '-D',
    `${runner.cluster}/data`,
    ...settings(port),
  ]);
  let over = false;
  const ended = end.then(
    () => undefined,
    (error: unknown) => String(error),
  );
  const done = ended.then(() => {
    over = true;
  });
  const deadline = clock.monotonic() + startWaitMs;
  while (!over && clock.monotonic() < deadline) {
    const postmaster = await findPostmaster(layout);
    if (postmaster?.ready === true) {
      child.unref();
      await writeFile(layout.portFile, `${postmaster.port}\n`, { mode: 0o600 });
      return { postmaster };
    }
    await Promise.race([done, clock.sleep(20)]);
  }
  const output = await logTail(layout, before);
  if (over) return { output: `${(await ended) ?? ''}${output}` };
  // It may be busy recovering: leave it at work, so that a later start finds it further on.
  child.unref();
  throw failed(`PostgreSQL was not ready after ${startWaitMs / 1000} s.`, output, layout);
};

/**
 * Starts PostgreSQL and waits until it takes connections. After a kill -9 of the postmaster its remaining processes
 * take a moment to notice; until then a new one is refused, so refusals of that kind are tried again for 15 s.
 */
export const startPostmaster = async (layout: Layout, runner: Runner, clock: Clock, log: Log): Promise<Postmaster> => {
  await rotateLog(layout);
  const deadline = clock.monotonic() + 15_000;
  for (;;) {
    const result = await attempt(layout, runner, clock);
    if ('postmaster' in result) return result.postmaster;
    const passing = /pre-existing shared memory block|lock file ".*" already exists|could not (bind|create any TCP)/;
    if (!passing.test(result.output) || clock.monotonic() > deadline)
      throw failed('PostgreSQL did not start.', result.output, layout);
    log.debug('PostgreSQL is not startable yet', { folder: layout.folder });
    await clock.sleep(100);
  }
};
