import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { type Clock, HoldfastError, type Log, maxHeaderBytes, systemClock } from '@holdfast/core';
import { getRequestListener } from '@hono/node-server';
import { z } from 'zod';
import type { Config } from './config.ts';
import { ConfigWatch } from './config-watch.ts';
import { ensureCredentials } from './credentials.ts';
import { openHome, writePrivateFile } from './home.ts';
import { ActiveRequests } from './http/active-requests.ts';
import type { HttpContext } from './http/context.ts';
import { Metrics } from './http/metrics.ts';
import { buildRouter } from './http/router.ts';
import { Upgrades } from './http/upgrades.ts';
import { type Layers, openLayers } from './layers.ts';
import { type OpenLog, openLog } from './logging.ts';
import { addOperations } from './operations.ts';
import { Previews } from './previews.ts';
import { bindAll } from './routes/all.ts';

export interface RunningServer {
  /** Such as `http://127.0.0.1:7070`. */
  readonly url: string;
  readonly layers: Layers;
  /** Stops accepting, lets requests and streams end for a while, closes the layers in order, and the database last. */
  stop(): Promise<void>;
}

export const version = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))).version;

const listen = (server: Server, host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE')
        reject(new HoldfastError('port.in_use', `Port ${port} of ${host} is already in use.`, { host, port }));
      else if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND')
        reject(
          new HoldfastError('config.invalid', `The server cannot listen on ${host}, port ${port}: ${error.code}.`, {
            host,
            port,
          }),
        );
      else reject(error);
    });
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });

const gaugesOf = (layers: Layers) => async () => [
  {
    name: 'holdfast_sandboxes',
    help: 'Sandboxes by state.',
    label: 'state',
    values: layers.sandboxes.counts(),
  },
];

interface HttpServer {
  readonly server: Server;
  readonly active: ActiveRequests;
  readonly upgrades: Upgrades;
}

const buildHttp = (layers: Layers, clock: Clock, log: Log): HttpServer => {
  const active = new ActiveRequests();
  const http: HttpContext = {
    ...{ clock, active, log: log.child({ layer: 'http' }), identity: layers.identity },
    metrics: new Metrics(),
    spans: layers.observability.sink,
  };
  const bounds = bindAll(layers, clock);
  const router = buildRouter(http, bounds);
  addOperations(router, http, {
    version,
    ready: () => layers.database.ping(),
    gauges: gaugesOf(layers),
    counters: (workspaceId) => layers.gateway.parts.metrics.render(workspaceId),
  });
  const upgrades = new Upgrades(http, bounds);
  const previews = new Previews(http, layers.sandboxes.service);
  const listener = getRequestListener(router.fetch, { overrideGlobalObjects: false });
  const server = createServer({ maxHeaderSize: maxHeaderBytes, keepAliveTimeout: 65_000 }, (incoming, outgoing) => {
    const target = previews.targetOf(incoming);
    if (target === null) void listener(incoming, outgoing);
    else void previews.handle(target, incoming, outgoing);
  });
  // Uploads and long execs have no total time limit; a client that sends no head within a minute is cut off.
  server.requestTimeout = 0;
  server.headersTimeout = 60_000;
  server.on('upgrade', (incoming, socket, head) => {
    const target = previews.targetOf(incoming);
    if (target === null) void upgrades.handle(incoming, socket, head);
    else void previews.upgrade(target, incoming, socket, head);
  });
  return { server, active, upgrades };
};

const stopHttp = async (
  { server, active, upgrades }: HttpServer,
  graceMs: number,
  clock: Clock,
  log: Log,
): Promise<void> => {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  upgrades.close();
  const cancel = clock.after(graceMs, () => {
    if (active.count > 0) log.warn('requests are broken off', { requests: active.count });
    active.abandon();
    // The answers to what was abandoned get a moment to leave.
    clock.after(200, () => server.closeAllConnections());
  });
  await active.idle();
  server.closeIdleConnections();
  await closed;
  cancel();
};

/** Writes the host into a URL, IPv6 in brackets; what listens everywhere is reached over loopback. */
const urlOf = (host: string, port: number): string => {
  const reached = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`;
};

/** Providers and routes follow the configuration file while the server runs; all else needs a new start. */
const watchConfig = async (
  config: Config,
  reread: (() => Config) | undefined,
  layers: Layers,
  clock: Clock,
  log: Log,
): Promise<ConfigWatch | null> => {
  if (reread === undefined) return null;
  const reload = async (): Promise<void> => await layers.gateway.reload(reread().gateway);
  return await ConfigWatch.start({ file: join(config.home, 'config.json'), clock, log, reload });
};

const run = async (config: Config, clock: Clock, log: Log, reread?: () => Config): Promise<RunningServer> => {
  const layers = await openLayers(config, clock, log);
  const record = join(config.home, 'server.json');
  try {
    const http = buildHttp(layers, clock, log);
    await ensureCredentials(config.home, layers.identity);
    const port = await listen(http.server, config.host, config.port);
    const url = urlOf(config.host, port);
    await writePrivateFile(record, `${JSON.stringify({ url, pid: process.pid, version })}\n`);
    const watch = await watchConfig(config, reread, layers, clock, log);
    log.info('the server is ready', { url, version });
    const stop = async (): Promise<void> => {
      log.info('the server stops');
      await rm(record, { force: true });
      await watch?.close();
      await stopHttp(http, config.shutdownSeconds * 1_000, clock, log);
      await layers.close();
    };
    return { url, layers, stop };
  } catch (error) {
    await layers.close();
    throw error;
  }
};

/**
 * Starts a server on its data folder and resolves when it answers; `reread` reads the configuration again when its file
 * changes.
 * Errors: `home.unusable`, `home.in_use`, `port.in_use`, `config.invalid`, and those of the database.
 */
export const startServer = async (
  config: Config,
  clock: Clock = systemClock,
  reread?: () => Config,
): Promise<RunningServer> => {
  const lock = await openHome(config.home);
  let opened: OpenLog | null = null;
  try {
    const logging = openLog(config);
    opened = logging;
    const { log } = logging;
    const server = await run(config, clock, log, reread);
    let stopping: Promise<void> | null = null;
    const stop = async (): Promise<void> => {
      await server.stop();
      log.info('the server has stopped');
      logging.close();
      await lock.release();
    };
    return {
      ...server,
      stop: () => {
        stopping ??= stop();
        return stopping;
      },
    };
  } catch (error) {
    opened?.close();
    await lock.release();
    throw error;
  }
};
