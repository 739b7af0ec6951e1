import { constants } from 'node:os';
import type { ExecRequest, ExecResult } from '@holdfast/contract';
import type { GuestCommand, GuestExit } from '@holdfast/sandbox';

type Command = Pick<
  ExecRequest,
  'argv' | 'shell' | 'env' | 'cwd' | 'user' | 'memoryMib' | 'maxProcesses' | 'cpuPercent'
>;

/** The guest's form of a command. */
export const guestCommand = (o: Command): GuestCommand => ({
  ...(o.argv === undefined ? {} : { argv: o.argv }),
  ...(o.shell === undefined ? {} : { shell: o.shell }),
  ...(o.env === undefined ? {} : { env: o.env }),
  ...(o.cwd === undefined ? {} : { cwd: o.cwd }),
  ...(o.user === undefined ? {} : { user: o.user }),
  ...(o.memoryMib === undefined ? {} : { memoryMaxBytes: o.memoryMib * 1_048_576 }),
  ...(o.maxProcesses === undefined ? {} : { pidsMax: o.maxProcesses }),
  ...(o.cpuPercent === undefined ? {} : { cpuPercent: o.cpuPercent }),
});

/** What `why` shows of it: the start, without controls. */
export const describeCommand = (o: Pick<ExecRequest, 'argv' | 'shell'>): string =>
  (o.shell ?? o.argv?.join(' ') ?? '').replace(/[\p{Cc}\p{Cf}]+/gu, ' ').slice(0, 120);

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** `SIGKILL`, or `SIG40` for one without a name. */
export const signalName = (number: number | null): string | null =>
  number === null ? null : (signalNames.get(number) ?? `SIG${number}`);

/** The end of a command, without its output. */
export const execEnd = (exit: GuestExit): Omit<ExecResult, 'stdout' | 'stderr' | 'droppedBytes'> => ({
  exitCode: exit.exitCode,
  signal: signalName(exit.signal),
  timedOut: exit.timedOut,
  outOfMemory: exit.oomKills > 0,
  usage: {
    elapsedMs: Number(exit.elapsedNs) / 1e6,
    cpuUserMs: exit.cpuUserUs / 1000,
    cpuSystemMs: exit.cpuSystemUs / 1000,
    memoryPeakBytes: exit.memoryPeakBytes,
    throttledMs: exit.throttledUs / 1000,
  },
});
