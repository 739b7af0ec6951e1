import { Secret } from '@holdfast/core';
import type { ClientConfig } from 'pg';
import pg from 'pg';

/** What it takes to connect. */
export type Endpoint =
  | { readonly kind: 'url'; readonly url: Secret }
  | {
      readonly kind: 'tcp';
      readonly port: number;
      readonly user: string;
      readonly database: string;
      readonly password: Secret;
    };

/** Where connections come from; asked again after each loss, because an embedded server may have moved to another port. */
export interface Source {
  /** Starts the database when that is ours to do. */
  endpoint(): Promise<Endpoint>;
  /** Called when the caller's connections are closed; `applicationName` is what they called themselves. */
  release(applicationName: string): Promise<void>;
}

const int8Oid = 20;
const numericArrayOids = new Set([1016]);

const parseInt8 = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is beyond what a number holds exactly`);
  return value;
};

/** `bigint` columns become numbers: all of ours are counters and sizes, and one that is not exact throws. */
const types: NonNullable<ClientConfig['types']> = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') => {
    if (oid === int8Oid && format !== 'binary') return parseInt8;
    if (numericArrayOids.has(oid)) {
      const parse = pg.types.getTypeParser(oid, format);
      return (text: string) => Array.from(parse(text), (item: unknown) => parseInt8(String(item)));
    }
    return pg.types.getTypeParser(oid, format);
  },
};

/** Settings for one connection. `connectMs` bounds how long it may take to be there. */
export const clientConfig = (endpoint: Endpoint, applicationName: string, connectMs: number): ClientConfig => {
  const shared: ClientConfig = {
    application_name: applicationName,
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
    types,
  };
  if (endpoint.kind === 'url') return { ...shared, connectionString: endpoint.url.reveal() };
  const { port, user, database } = endpoint;
  return { ...shared, host: '127.0.0.1', port, user, database, password: endpoint.password.reveal() };
};

/** Connection string of an endpoint, with its password. */
export const urlOf = (endpoint: Endpoint): Secret => {
  if (endpoint.kind === 'url') return endpoint.url;
  const { user, password, port, database } = endpoint;
  return new Secret(`postgresql://${user}:${password.reveal()}@127.0.0.1:${port}/${database}`);
};
