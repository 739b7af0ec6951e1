import { checkName, commandRequest, type GuestCommand, request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { markHandled } from './errors.ts';
import { type ExitStatus, type GuestExit, type GuestUsage, parseExit, parseStatus, parseUsage } from './exit.ts';
import { iterate } from './inbound-queue.ts';
import { guestLimits } from './limits.ts';
import { shapes } from './stream.ts';
import { Channel, Op, Tag } from './tags.ts';
import type { Fields } from './tlv.ts';
import { ProtocolViolation } from './violation.ts';

export interface GuestSpawnOptions extends GuestCommand {
  readonly name: string;
  /** Output kept, the newest of it; 1 MiB unless told, at most 16 MiB. */
  readonly logLimitBytes?: number;
}

export type GuestProcessState = 'running' | 'exited' | 'frozen';

/** A background process. */
export interface GuestProcess extends ExitStatus, GuestUsage {
  readonly name: string;
  readonly pid: number;
  readonly state: GuestProcessState;
  /** Since 1970. */
  readonly startedMs: number;
  readonly argv: readonly string[];
  readonly logDroppedBytes: number;
}

export interface GuestLogOptions {
  /** Stay until the process ends. */
  readonly follow?: boolean;
  /** Begin with the last so many bytes; all that is kept unless told. */
  readonly limitBytes?: number;
}

/** Output in the order written: stream 1 is stdout, 2 is stderr. Leaving the loop early cancels. */
export interface GuestLogs {
  readonly output: AsyncIterable<{ readonly stream: 1 | 2; readonly data: Uint8Array }>;
  cancel(): void;
  readonly done: Promise<GuestLogEnd>;
}

export interface GuestLogEnd extends ExitStatus {
  readonly state: GuestProcessState;
}

export interface GuestStopOptions {
  /** 15 unless told. */
  readonly signal?: number;
  /** Until SIGKILL; 5,000 unless told. */
  readonly timeoutMs?: number;
}

export async function spawn(connection: GuestConnection, options: GuestSpawnOptions): Promise<{ pid: number }> {
  const fields = commandRequest(Op.spawn, options)
    .text(Tag.name, checkName(options.name))
    .number(Tag.logLimit, options.logLimitBytes);
  return connection.request(fields, (answer) => ({ pid: answer.requireNumber(Tag.pid) }));
}

export const listProcesses = (connection: GuestConnection): Promise<GuestProcess[]> =>
  connection.request(request(Op.ps), (answer) => answer.records(guestLimits.maxProcessRecords).map(parseProcess));

export async function stopProcess(
  connection: GuestConnection,
  name: string,
  options: GuestStopOptions,
): Promise<GuestExit> {
  const fields = request(Op.stop)
    .text(Tag.name, checkName(name))
    .number(Tag.signal, options.signal)
    .number(Tag.timeoutMs, options.timeoutMs);
  return connection.request(fields, parseExit);
}

export function readLogs(connection: GuestConnection, name: string, options: GuestLogOptions): GuestLogs {
  const done = Promise.withResolvers<GuestLogEnd>();
  const fields = request(Op.logs)
    .text(Tag.name, checkName(name))
    .flag(Tag.follow, options.follow)
    .number(Tag.limit, options.limitBytes);
  const stream = connection.open(fields, shapes.log, {
    result: (answer) => done.resolve({ state: parseState(answer), ...parseStatus(answer) }),
    failed: done.reject,
  });
  return {
    output: iterate(stream.queue(Channel.stdout), ({ channel, data }) => ({
      stream: channel === Channel.stdout ? 1 : 2,
      data,
    })),
    cancel: () => stream.cancel(),
    done: markHandled(done.promise),
  };
}

function parseProcess(record: Fields): GuestProcess {
  return {
    name: record.requireText(Tag.name, 64),
    pid: record.requireNumber(Tag.pid),
    state: parseState(record),
    startedMs: Number((record.u64(Tag.startedNs) ?? 0n) / 1_000_000n),
    argv: record.texts(Tag.arg, guestLimits.maxPayloadBytes, guestLimits.maxArguments),
    ...parseStatus(record),
    ...parseUsage(record),
    logDroppedBytes: record.number(Tag.logDropped) ?? 0,
  };
}

const states: Readonly<Record<number, GuestProcessState>> = { 1: 'running', 2: 'exited', 3: 'frozen' };

function parseState(fields: Fields): GuestProcessState {
  const state = states[fields.requireNumber(Tag.state)];
  if (state === undefined) throw new ProtocolViolation('a process has an unknown state');
  return state;
}
