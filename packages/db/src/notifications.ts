import { type Clock, HoldfastError, type Log } from '@holdfast/core';
import pg from 'pg';
import { clientConfig, type Source } from './endpoint.ts';

export interface NotificationHandler {
  /** A NOTIFY on the channel; at most 8,000 bytes. */
  message(payload: string): void;
  /** The connection was away: messages may have been missed. */
  reset(): void;
}

export interface NotificationOptions {
  readonly source: Source;
  readonly applicationName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the connection is back after a loss. */
  readonly returned: () => void;
}

/**
 * The one connection that is always open. It receives notifications, it tells other processes that this database is in
 * use, and its loss is how the death of the database is noticed: the source is asked again at once, and restarts it.
 */
export class Notifications {
  readonly #o: NotificationOptions;
  readonly #handlers = new Map<string, Set<NotificationHandler>>();
  readonly #stop = new AbortController();
  #client: pg.Client | null = null;
  #running: Promise<void> = Promise.resolve();
  #sending: Promise<void> = Promise.resolve();

  constructor(options: NotificationOptions) {
    this.#o = options;
  }

  /** Connects once, failing if that fails, and from then on stays connected until `close`. */
  async start(): Promise<void> {
    const { client, ended } = await this.#connect();
    this.#running = this.#run(client, ended);
  }

  /** Calls the handler for each NOTIFY on that channel; the returned function ends it. */
  listen(channel: string, handler: NotificationHandler): () => void {
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(channel)) throw new RangeError(`not a channel name: ${channel}`);
    const handlers = this.#handlers.get(channel) ?? new Set();
    this.#handlers.set(channel, handlers.add(handler));
    if (handlers.size === 1) this.#send(`listen ${channel}`, handler);
    return () => {
      handlers.delete(handler);
    };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#client?.end().catch(() => undefined);
    await this.#running;
  }

  /**
   * One after the other, since a connection runs one statement at a time. A failure here is a lost connection, and the
   * next one listens to all channels again.
   */
  #send(statement: string, handler: NotificationHandler): void {
    const client = this.#client;
    if (client === null) return;
    this.#sending = this.#sending
      .then(() => client.query(statement))
      .then(
        () => handler.reset(),
        (error: unknown) => this.#o.log.debug('a channel will be listened to later', { reason: String(error) }),
      );
  }

  async #connect(): Promise<{ client: pg.Client; ended: Promise<void> }> {
    const endpoint = await this.#o.source.endpoint();
    const client = new pg.Client(clientConfig(endpoint, this.#o.applicationName, 5_000));
    const ended = new Promise<void>((resolve) => {
      client.once('end', () => resolve());
    });
    client.on('error', (error) => this.#o.log.debug('the notification connection failed', { reason: error.message }));
    client.on('notification', ({ channel, payload }) => {
      for (const handler of this.#handlers.get(channel) ?? []) handler.message(payload ?? '');
    });
    await client.connect();
    for (const channel of this.#handlers.keys()) await client.query(`listen ${channel}`);
    this.#client = client;
    return { client, ended };
  }

  async #run(first: pg.Client, firstEnded: Promise<void>): Promise<void> {
    let client: pg.Client = first;
    let ended = firstEnded;
    for (;;) {
      await ended;
      await client.end().catch(() => undefined);
      this.#client = null;
      if (this.#stop.signal.aborted) return;
      this.#o.log.warn('the database went away; bringing it back');
      const next = await this.#reconnect();
      if (next === null) return;
      this.#o.log.info('the database is back');
      ({ client, ended } = next);
      this.#o.returned();
      for (const handlers of this.#handlers.values()) for (const handler of handlers) handler.reset();
    }
  }

  async #reconnect(): Promise<{ client: pg.Client; ended: Promise<void> } | null> {
    for (let pauseMs = 50; !this.#stop.signal.aborted; pauseMs = Math.min(pauseMs * 2, 2_000)) {
      try {
        const next = await this.#connect();
        if (!this.#stop.signal.aborted) return next;
        await next.client.end();
      } catch (error) {
        const details = error instanceof HoldfastError ? error.details : {};
        this.#o.log.debug('the database is still away', { reason: String(error), ...details });
      }
      await this.#o.clock.sleep(pauseMs, this.#stop.signal).catch(() => undefined);
    }
    return null;
  }
}
