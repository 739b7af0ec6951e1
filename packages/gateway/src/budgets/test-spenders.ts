import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Database } from '@holdfast/db';
import type { SettledCall, SpendAnswer, SpendOrder, StreamOrder } from './test-spender.ts';

/** A gateway process of its own, to spend with and to kill. */
export class Spender {
  readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(database: Database): Promise<Spender> {
    const script = fileURLToPath(new URL('./test-spender.ts', import.meta.url));
    const child = fork(script, [(await database.url()).reveal()], { stdio: 'inherit', execArgv: [] });
    const spender = new Spender(child);
    await spender.#answer();
    return spender;
  }

  async spend(order: SpendOrder): Promise<SpendAnswer> {
    return await this.#ask<SpendAnswer>(order);
  }

  /** Spends until it is killed, and tells of each call that was settled. */
  stream(order: Omit<StreamOrder, 'stream'>, settled: (call: SettledCall) => void): void {
    this.child.on('message', settled);
    this.child.send({ stream: true, ...order });
  }

  /** Settles all that is held, at the amount that was reserved. */
  async settle(): Promise<void> {
    await this.#ask('settle');
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.send('close');
    await exit;
  }

  async kill(): Promise<void> {
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }

  async #ask<T>(message: SpendOrder | 'settle'): Promise<T> {
    const answer = this.#answer<T>();
    this.child.send(message);
    return await answer;
  }

  #answer<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the spender ended'));
      this.child.once('exit', gone);
      this.child.once('message', (message: T & { failed?: string }) => {
        this.child.off('exit', gone);
        if (message.failed === undefined) resolve(message);
        else reject(new Error(message.failed));
      });
    });
  }
}
