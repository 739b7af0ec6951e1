import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Waits for a child that has this command's streams, passing signals on, and gives the exit code a shell would. On a
 * terminal Ctrl-C reaches the child by itself, so it is not sent twice.
 */
export const waitForProgram = async (child: ChildProcess): Promise<number> => {
  const pass = (signal: NodeJS.Signals) => {
    if (signal === 'SIGINT' && process.stdin.isTTY === true) return;
    child.kill(signal);
  };
  for (const signal of forwarded) process.on(signal, pass);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of forwarded) process.off(signal, pass);
  }
};

/** Runs one of the project's own programs with this Node and this command's streams. */
export const runProgramFile = (
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> => waitForProgram(spawn(process.execPath, [file, ...args], { stdio: 'inherit', env }));
