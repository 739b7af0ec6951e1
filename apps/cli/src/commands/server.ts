import { HoldfastError } from '@holdfast/core';
import type { Run } from '../command.ts';
import { waitForProgram } from '../program-process.ts';
import { isReady, runningServer, serverLog, spawnForeground, startDetached, stopServer } from '../server-process.ts';

export const up: Run<{ detach?: boolean; port?: number; wait: number }> = async (context, _args, options) => {
  const { configuration, output } = context;
  const running = await runningServer(configuration.home);
  if (running !== null) {
    const detail = `A server (process ${running.pid}) already runs on ${configuration.home}, at ${running.url}.`;
    throw new HoldfastError('home.in_use', detail, { ...running });
  }
  if (options.detach !== true) return waitForProgram(spawnForeground(configuration, options.port));
  const record = await output.during('Starting the server', () =>
    startDetached(configuration, { port: options.port, waitMs: options.wait }),
  );
  const log = serverLog(configuration.home);
  output.result({ ...record, log }, ({ url, pid }) => `${url} (process ${pid}), log: ${log}`);
  return undefined;
};

export const down: Run<{ wait: number }> = async ({ configuration, output }, _args, { wait }) => {
  const running = await runningServer(configuration.home);
  if (running !== null) await output.during('Stopping the server', () => stopServer(running, wait));
  output.result({ stopped: running !== null }, ({ stopped }) =>
    stopped ? 'The server has stopped.' : `No server runs on ${configuration.home}.`,
  );
};

/** The address of a ready server on the data folder, started for the time of `use` when none runs. */
export const withServer = async <T>(
  context: Parameters<Run<object>>[0],
  use: (started: boolean) => Promise<T>,
): Promise<T> => {
  const { configuration, output } = context;
  if (configuration.url !== null) return use(false);
  const running = await runningServer(configuration.home);
  if (running !== null && (await isReady(running.url))) return use(false);
  if (running !== null) {
    throw new HoldfastError('server.unreachable', `The server (process ${running.pid}) runs but is not ready.`, {
      ...running,
    });
  }
  const record = await output.during('Starting the server', () => startDetached(configuration, { waitMs: 600_000 }));
  try {
    return await use(true);
  } finally {
    await output.during('Stopping the server', () => stopServer(record, 120_000));
  }
};
