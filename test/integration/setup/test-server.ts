import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunningServer, readConfig, startServer } from '@holdfast/server';
import { makeHome, type TestHome } from './test-home.ts';

export interface TestServer extends AsyncDisposable {
  readonly home: TestHome;
  readonly url: string;
  readonly server: RunningServer;
  /** The key that the server left for the command line. */
  readonly ownerKey: string;
}

export const startOn = async (home: TestHome): Promise<RunningServer> => {
  const read = () => readConfig({ HOLDFAST_HOME: home.path, HOLDFAST_PORT: '0' });
  return startServer(read(), undefined, read);
};

/** A whole server in this process, on real PostgreSQL and a port of its own. */
export const startTestServer = async (home?: TestHome): Promise<TestServer> => {
  const own = home ?? (await makeHome());
  const server = await startOn(own);
  return {
    home: own,
    url: server.url,
    server,
    ownerKey: (await readFile(join(own.path, 'credentials'), 'utf8')).trim(),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await own[Symbol.asyncDispose]();
    },
  };
};
