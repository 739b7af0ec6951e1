import { spawn } from 'node:child_process';
import { HoldfastError } from '@holdfast/core';

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Sees each piece of standard output and error as it comes. */
  readonly onOutput?: (text: string) => void;
  readonly signal?: AbortSignal;
}

/** Output kept for the error message and the result, in characters. */
const keptOutput = 65_536;

/**
 * Runs a host program to its end and gives its standard output.
 * Throws `host.command_failed` with the tail of its output.
 */
export function runCommand(program: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = '';
    let tail = '';
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs, killSignal: 'SIGKILL' as const }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const note = (text: string) => {
      tail = (tail + text).slice(-keptOutput);
      options.onOutput?.(text);
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-keptOutput);
      note(text);
    });
    child.stderr.setEncoding('utf8').on('data', note);
    const fail = (reason: string, cause?: unknown) =>
      reject(
        new HoldfastError(
          'host.command_failed',
          `${program}: ${reason}`,
          { program, output: tail.slice(-2000) },
          { cause },
        ),
      );
    child.on('error', (error) => fail(error.message, error));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output);
      else fail(signal === null ? `exit code ${code}` : `killed by ${signal}`);
    });
  });
}
