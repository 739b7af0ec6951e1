import { connect, createServer, type Server, type Socket } from 'node:net';
import { Secret } from '@holdfast/core';
import type { Database } from '@holdfast/db';

/** A wire to the database that a test can cut: nothing comes through, or only requests do and no answers. */
export class TestWire {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: URL;
  #state: 'whole' | 'cut' | 'deaf' = 'whole';

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((near) => this.#join(near));
  }

  static async to(database: Database): Promise<TestWire> {
    const wire = new TestWire(new URL((await database.url()).reveal()));
    await new Promise<void>((resolve) => wire.#server.listen(0, '127.0.0.1', resolve));
    return wire;
  }

  get url(): Secret {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the wire has no port');
    const url = new URL(this.#target);
    url.port = String(address.port);
    return new Secret(url.href);
  }

  /** Every connection ends, and new ones do too. */
  cut(): void {
    this.#state = 'cut';
    this.#hangUp();
  }

  /** What is asked arrives, what is answered does not; the connection ends instead. */
  deafen(): void {
    this.#state = 'deaf';
  }

  mend(): void {
    this.#state = 'whole';
    this.#hangUp();
  }

  async close(): Promise<void> {
    this.#hangUp();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(near: Socket): void {
    if (this.#state === 'cut') {
      near.destroy();
      return;
    }
    const far = connect(Number(this.#target.port), this.#target.hostname);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one);
      one.on('error', () => undefined);
      one.once('close', () => {
        this.#sockets.delete(one);
        other.destroy();
      });
    }
    near.on('data', (data) => far.write(data));
    far.on('data', (data) => {
      if (this.#state === 'deaf') near.destroy();
      else near.write(data);
    });
  }
}
