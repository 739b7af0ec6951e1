import { join } from 'node:path';
import type { Clock, Log } from '@holdfast/core';
import { type Database, openDatabase } from '@holdfast/db';
import { type Gateway, MasterKeys, openGateway } from '@holdfast/gateway';
import { type Identity, openIdentity } from '@holdfast/identity';
import { type Observability, openObservability } from '@holdfast/observability';
import { openSandboxes, type SandboxLayer } from '@holdfast/sandbox';
import type { Config } from './config.ts';
import { faultPoint } from './fault.ts';
import { sandboxSettings } from './sandbox-settings.ts';
import { observeSandboxes } from './trace-scope.ts';

export interface Layers {
  readonly database: Database;
  readonly identity: Identity;
  readonly observability: Observability;
  readonly gateway: Gateway;
  readonly sandboxes: SandboxLayer;
  /** Closes all, the last opened first, each even when another fails to close. */
  close(): Promise<void>;
}

/** Opened so far, to be closed in the opposite order. */
class Opened {
  readonly #closers: { readonly name: string; readonly close: () => Promise<void> }[] = [];
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  add<T extends { close(): Promise<void> }>(name: string, opened: T): T {
    this.#closers.push({ name, close: () => opened.close() });
    return opened;
  }

  async close(): Promise<void> {
    for (let next = this.#closers.pop(); next !== undefined; next = this.#closers.pop()) {
      const { name, close } = next;
      await close().catch((error: unknown) => this.#log.error('a layer did not close', { layer: name, error }));
    }
  }
}

const masterKeysOf = async ({ masterKey, home }: Config): Promise<MasterKeys> =>
  masterKey === null ? await MasterKeys.fromFile(join(home, 'master.key')) : MasterKeys.fromSecret(masterKey);

/** Opens every layer on its own port to the others; here is the only place that knows more than one of them. */
export const openLayers = async (config: Config, clock: Clock, log: Log): Promise<Layers> => {
  const opened = new Opened(log);
  try {
    const uid = config.databaseUid === null ? {} : { uid: config.databaseUid };
    const place =
      config.databaseUrl === null
        ? { embedded: { folder: join(config.home, 'postgres'), ...uid } }
        : { url: config.databaseUrl };
    const database = opened.add(
      'database',
      await openDatabase({ ...place, clock, log: log.child({ layer: 'database' }) }),
    );
    const identity = opened.add(
      'identity',
      await openIdentity({ database, clock, log: log.child({ layer: 'identity' }) }),
    );
    const observability = opened.add(
      'observability',
      openObservability({ database, clock, log: log.child({ layer: 'observability' }) }),
    );
    const gateway = opened.add(
      'gateway',
      await openGateway({
        ...{ database, clock, spans: observability.sink },
        configuration: config.gateway,
        masterKeys: await masterKeysOf(config),
        webhookAddresses: config.webhookAddresses,
        pricesFile: config.pricesFile,
        log: log.child({ layer: 'gateway' }),
      }),
    );
    const sandboxes = opened.add(
      'sandbox',
      await openSandboxes({
        ...{ database, clock, folder: join(config.home, 'sandboxes') },
        settings: sandboxSettings(config),
        log: log.child({ layer: 'sandbox' }),
        reach: faultPoint(config.killAt),
        observe: observeSandboxes(observability.sink),
      }),
    );
    return { database, identity, observability, gateway, sandboxes, close: () => opened.close() };
  } catch (error) {
    await opened.close();
    throw error;
  }
};
