import { HoldfastError } from '@holdfast/core';
import type { Command, SpawnOptions } from '@holdfast/sdk';

/** Options that `exec` and `start` share. */
export interface GuestCommandOptions {
  readonly cwd?: string;
  readonly user?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly memory?: number;
  readonly maxProcesses?: number;
  readonly cpu?: number;
  readonly shell?: string;
}

/** The command of a command line: its words after the operands, or the text of --shell, but not both. */
export const guestCommand = (words: readonly string[], options: GuestCommandOptions): Command => {
  if (options.shell !== undefined) {
    if (words.length > 0) throw new HoldfastError('cli.usage', 'Give either a command or --shell, not both.');
    return options.shell;
  }
  if (words.length === 0) {
    throw new HoldfastError('cli.usage', 'Give a command after --, as in: -- ls -l /, or --shell TEXT.');
  }
  return words;
};

/** The limits and surroundings of a command as the API takes them. */
export const guestLimits = (o: GuestCommandOptions): SpawnOptions => ({
  cwd: o.cwd,
  user: o.user,
  env: o.env === undefined ? undefined : { ...o.env },
  memoryMib: o.memory,
  maxProcesses: o.maxProcesses,
  cpuPercent: o.cpu,
});
