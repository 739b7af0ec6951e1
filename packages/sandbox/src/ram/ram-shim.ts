import { connect, type Socket } from 'node:net';
import { type Clock, HoldfastError, systemClock } from '@holdfast/core';
import type { z } from 'zod';
import {
  commandLine,
  encodePath,
  maxAnswerBytes,
  nothing,
  parseShimLine,
  protocolError,
  type RamDirty,
  type RamLoadFigures,
  type RamSaved,
  type RamStatus,
  type RamVerification,
  ramDirty,
  ramLoadFigures,
  ramSaved,
  ramStatus,
  type ShimLine,
  shimError,
} from './shim-line.ts';

export interface RamShimOptions {
  /** Time for each command; the connection is closed when it passes, as nobody knows then what was done. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
}

/** Paths are as the QEMU process sees them. */
export interface RamSave {
  readonly index: string;
  readonly data: string;
  /** Its number in the new index: that of a loaded layer, whose data file it must then be, or the next. */
  readonly layer: number;
  /** Whether to be durable on return. */
  readonly sync: boolean;
}

export interface RamLoad {
  readonly index: string;
  /** Data files by layer number. */
  readonly layers: readonly string[];
  /** Pages of large extents to copy in instead of mapping them. */
  readonly eagerPages: number;
  /** Pages to check before the answer (copied ones always are); the rest is checked in the background. */
  readonly verifyPages: number;
}

export interface RamLoaded extends RamLoadFigures {
  /** Never rejects. At once `verified` when nothing was left for the background. */
  readonly verification: Promise<RamVerification>;
}

interface Waiting {
  readonly verb: string;
  readonly cancelTimer: () => void;
  /** Runs while the line is handled, so that an event right behind it finds everything in place. */
  readonly answered: (line: Exclude<ShimLine, { kind: 'event' }>) => void;
  readonly failed: (error: HoldfastError) => void;
}

const defaultTimeoutMs = 60_000;
const maxWaiting = 16;

/**
 * The RAM shim of one QEMU process. Commands run in the order they are given. Errors: `ram.corrupt` (a saved image is not
 * what was saved), `ram.no_space`, `ram.failed` (refused, or another system error), `ram.unavailable` (the connection is closed,
 * a time-out, a broken protocol).
 */
export class RamShim {
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  readonly #closed = Promise.withResolvers<void>();
  #held = '';
  #over: HoldfastError | undefined;
  #verification: PromiseWithResolvers<RamVerification> | undefined;

  private constructor(socket: Socket, options: RamShimOptions) {
    this.#socket = socket;
    this.#timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    this.#clock = options.clock ?? systemClock;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => this.#end(new HoldfastError('ram.unavailable')));
    socket.on('close', () => this.#end(new HoldfastError('ram.unavailable')));
  }

  /**
   * Connects to the socket at `path`: at most 107 bytes, so a longer one through `/proc/self/fd/N/name`. The shim serves one
   * connection at a time; a second one waits for its first answer until the first is closed. Throws `ram.unavailable`.
   */
  static connect(path: string, options: RamShimOptions = {}): Promise<RamShim> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const refused = (cause: Error): void => {
        reject(new HoldfastError('ram.unavailable', undefined, { reason: cause.message }, { cause }));
      };
      socket.once('error', refused);
      socket.once('connect', () => {
        socket.off('error', refused);
        resolve(new RamShim(socket, options));
      });
    });
  }

  /** Resolves when the connection is closed, by either side. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Saves the dirty pages and a new index. The machine must be stopped. When it fails the former index is untouched. */
  async save(o: RamSave): Promise<RamSaved> {
    const values = { index: encodePath(o.index), data: encodePath(o.data), layer: o.layer, sync: o.sync ? 1 : 0 };
    return this.#command('SAVE', ramSaved, (figures) => figures, values);
  }

  /** Lays an image over the template's RAM. The machine must not have run. When it fails the RAM is the template's again. */
  async load(o: RamLoad): Promise<RamLoaded> {
    const layers = o.layers.map(encodePath).join(',');
    const values = { index: encodePath(o.index), layers, eager: o.eagerPages, verify: o.verifyPages };
    return this.#command(
      'LOAD',
      ramLoadFigures,
      (figures) => ({ ...figures, verification: this.#expectEvent(figures) }),
      values,
    );
  }

  status(): Promise<RamStatus> {
    return this.#command('STATUS', ramStatus, (status) => status);
  }

  /** Counts the pages that differ from what is mapped. */
  dirty(): Promise<RamDirty> {
    return this.#command('DIRTY', ramDirty, (dirty) => dirty);
  }

  /** Makes the RAM the template's again. The machine must not have run. */
  async reset(): Promise<void> {
    await this.#command('RESET', nothing, () => undefined);
  }

  close(): void {
    this.#end(new HoldfastError('ram.unavailable', 'The connection to the RAM shim was closed.'));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #expectEvent(figures: RamLoadFigures): Promise<RamVerification> {
    const pages = figures.copiedPages + figures.mappedPages;
    if (figures.verifiedPages >= pages) return Promise.resolve({ outcome: 'verified', pages });
    this.#verification?.resolve({ outcome: 'unknown' });
    this.#verification = Promise.withResolvers();
    return this.#verification.promise;
  }

  async #command<S extends z.ZodType, T>(
    verb: string,
    schema: S,
    take: (value: z.output<S>) => T,
    values: Readonly<Record<string, string | number>> = {},
  ): Promise<T> {
    if (this.#over !== undefined) throw this.#over;
    if (this.#waiting.length >= maxWaiting)
      throw new HoldfastError('ram.failed', 'Too many commands wait for the RAM shim.');
    const line = commandLine(verb, values);
    const result = Promise.withResolvers<T>();
    const timedOut = (): void =>
      this.#end(new HoldfastError('ram.unavailable', 'The RAM shim did not answer in time.', { command: verb }));
    this.#waiting.push({
      verb,
      cancelTimer: this.#clock.after(this.#timeoutMs, timedOut),
      failed: result.reject,
      answered: (answer) => {
        if (answer.kind === 'error') return result.reject(shimError(verb, answer.code, answer.message));
        const value = schema.safeParse(answer.value);
        if (!value.success) throw protocolError(`unexpected answer to ${verb}`);
        result.resolve(take(value.data));
      },
    });
    this.#socket.write(line);
    return result.promise;
  }

  #receive(text: string): void {
    if (this.#over !== undefined) return;
    const lines = (this.#held + text).split('\n');
    this.#held = lines.pop() ?? '';
    try {
      for (const line of lines) this.#handle(line);
      if (this.#held.length > maxAnswerBytes) throw protocolError('line too long');
    } catch (error) {
      this.#end(error instanceof HoldfastError ? error : protocolError('unreadable'));
    }
  }

  #handle(text: string): void {
    if (text.length > maxAnswerBytes) throw protocolError('line too long');
    const line = parseShimLine(text);
    if (line.kind === 'event') {
      // One that nobody waits for belongs to a LOAD of an earlier connection.
      this.#verification?.resolve(line.verification);
      this.#verification = undefined;
      return;
    }
    const waiting = this.#waiting.shift();
    if (waiting === undefined) throw protocolError('an answer to nothing');
    waiting.cancelTimer();
    try {
      waiting.answered(line);
    } catch (error) {
      waiting.failed(error instanceof HoldfastError ? error : protocolError('unreadable'));
      throw error;
    }
  }

  #end(error: HoldfastError): void {
    if (this.#over !== undefined) return;
    this.#over = error;
    this.#held = '';
    this.#socket.destroy();
    for (const waiting of this.#waiting.splice(0)) {
      waiting.cancelTimer();
      waiting.failed(error);
    }
    this.#verification?.resolve({ outcome: 'unknown' });
    this.#verification = undefined;
    this.#closed.resolve();
  }
}
