import { closeSync, fstatSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Log, LogFields } from '@holdfast/core';
import { type Logger, pino } from 'pino';
import type { Config } from './config.ts';
import { redact } from './redaction.ts';

/** Size at which the log is renamed to `server.log.1`, replacing the one before. */
const maxLogBytes = 16_777_216;

/** Written at once, so that the last line before a crash is there; a write to the page cache takes microseconds. */
class LogFile {
  readonly #path: string;
  #fd: number;
  #size: number;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'a', 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  write(line: string): void {
    try {
      if (this.#size > maxLogBytes) this.#rotate();
      this.#size += writeSync(this.#fd, line);
    } catch {
      // A full disk must not end the server; the line is on standard error too.
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.#path, `${this.#path}.1`);
    this.#fd = openSync(this.#path, 'a', 0o600);
    this.#size = 0;
  }
}

const adapt = (logger: Logger): Log => {
  const fields = (given: LogFields | undefined) => (given === undefined ? {} : redact(given));
  return {
    debug: (message, given) => logger.isLevelEnabled('debug') && logger.debug(fields(given), message),
    info: (message, given) => logger.info(fields(given), message),
    warn: (message, given) => logger.warn(fields(given), message),
    error: (message, given) => logger.error(fields(given), message),
    child: (given) => adapt(logger.child(Object.fromEntries(Object.entries(redact(given) ?? {})))),
  };
};

export interface OpenLog {
  readonly log: Log;
  close(): void;
}

const options = (level: string) => ({ level, base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime });

/** JSON lines to standard error and `<home>/log/server.log`. */
export const openLog = (config: Pick<Config, 'home' | 'logLevel'>): OpenLog => {
  const folder = join(config.home, 'log');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = new LogFile(join(folder, 'server.log'));
  const both = {
    write: (line: string): void => {
      process.stderr.write(line);
      file.write(line);
    },
  };
  return { log: adapt(pino(options(config.logLevel), both)), close: () => file.close() };
};

/** For what goes wrong before there is a data folder to log into. */
export const standardErrorLog = (): Log => adapt(pino(options('info'), process.stderr));
