import { HoldfastError } from '@holdfast/core';
import type { Client } from '@holdfast/sdk';
import { type Configuration, readCredentials, readServerRecord } from './configuration.ts';
import type { Output } from './output.ts';

/** What every command gets. */
export interface Context {
  readonly configuration: Configuration;
  readonly output: Output;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface ServerAddress {
  readonly url: string;
  readonly apiKey: string | null;
}

/** Where the server is and the key for it: the environment first, then what the local server wrote into the data folder. */
export const serverAddress = ({ configuration }: Context): ServerAddress => {
  const own = readServerRecord(configuration.home)?.url;
  const url = configuration.url ?? own;
  if (url === undefined) {
    throw new HoldfastError('server.unreachable', `No server runs on the data folder ${configuration.home}.`, {
      home: configuration.home,
    });
  }
  // The local server's key is never sent to another server.
  const isOwn = own !== undefined && new URL(own).origin === new URL(url).origin;
  const local = isOwn ? readCredentials(configuration.home) : null;
  return { url, apiKey: (configuration.apiKey ?? local)?.reveal() ?? null };
};

/** The client of that server. Throws `server.unreachable` when none is known. */
export const connect = async (context: Context): Promise<Client> => {
  const { createClient } = await import('@holdfast/sdk');
  return createClient(serverAddress(context));
};
