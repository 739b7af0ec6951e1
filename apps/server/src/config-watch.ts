import { stat } from 'node:fs/promises';
import type { Clock, Log } from '@holdfast/core';

const everyMs = 1_000;

export interface ConfigWatchOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Reads the file and takes over what it says; whatever it throws leaves all as it was. */
  readonly reload: () => Promise<void>;
}

/** Looks every second whether a file changed. Asking is cheap, and unlike a watch it also works on network drives. */
export class ConfigWatch {
  readonly #o: ConfigWatchOptions;
  #version: string;
  #cancel: () => void;
  #working: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: ConfigWatchOptions, version: string) {
    this.#o = options;
    this.#version = version;
    this.#cancel = options.clock.after(everyMs, () => this.#look());
  }

  static async start(options: ConfigWatchOptions): Promise<ConfigWatch> {
    return new ConfigWatch(options, await versionOf(options.file));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#working;
  }

  #look(): void {
    this.#working = this.#check().finally(() => {
      if (!this.#closed) this.#cancel = this.#o.clock.after(everyMs, () => this.#look());
    });
  }

  async #check(): Promise<void> {
    const { file, log, reload } = this.#o;
    const version = await versionOf(file);
    if (version === this.#version) return;
    this.#version = version;
    try {
      await reload();
      log.info('the configuration of the gateway was read again', { file });
    } catch (error) {
      log.error('the changed configuration is not used', { file, error });
    }
  }
}

const versionOf = async (file: string): Promise<string> => {
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return 'none';
  }
};
