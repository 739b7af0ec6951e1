import { HoldfastError } from '@holdfast/core';
import { guestLimits } from './limits.ts';
import { type Op, Tag } from './tags.ts';
import { FieldsBuilder } from './tlv.ts';

/** What to run and within which limits. Exactly one of `argv` and `shell` (for `/bin/sh -c`) is given. */
export interface GuestCommand {
  readonly argv?: readonly string[];
  readonly shell?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly cwd?: string;
  /** Name, `uid`, or `uid:gid`. */
  readonly user?: string;
  /** The kernel kills beyond it. */
  readonly memoryMaxBytes?: number;
  /** The kernel throttles beyond it; 1 MiB less than the hard limit unless told. */
  readonly memoryHighBytes?: number;
  readonly pidsMax?: number;
  /** Percent of one CPU. */
  readonly cpuPercent?: number;
}

/** Starts a request. */
export const request = (op: number): FieldsBuilder => new FieldsBuilder().number(Tag.op, op);

/** OP and all of a command. Throws `guest.bad_request`. */
export function commandRequest(op: typeof Op.exec | typeof Op.spawn, command: GuestCommand): FieldsBuilder {
  const { argv, shell, env = {} } = command;
  if ((argv === undefined) === (shell === undefined)) {
    throw new HoldfastError('guest.bad_request', 'Give either argv or shell.');
  }
  const assignments = Object.entries(env).map(([name, value]) => assignment(name, value));
  const most = guestLimits.maxArguments;
  if (argv?.length === 0 || (argv?.length ?? 0) > most || assignments.length > most) {
    throw new HoldfastError('guest.bad_request', `A command has 1 to ${most} arguments and at most ${most} variables.`);
  }
  return request(op)
    .texts(Tag.arg, argv)
    .text(Tag.shell, shell)
    .texts(Tag.env, assignments)
    .text(Tag.cwd, command.cwd === undefined ? undefined : checkPath(command.cwd))
    .text(Tag.user, command.user)
    .number(Tag.memoryMax, command.memoryMaxBytes)
    .number(Tag.memoryHigh, command.memoryHighBytes)
    .number(Tag.pidsMax, command.pidsMax)
    .number(Tag.cpuPercent, command.cpuPercent);
}

/** Throws `guest.invalid_path` unless the path is absolute, at most 4,096 bytes, and free of NUL, `.` and `..`. */
export function checkPath(path: string): string {
  const valid =
    path.startsWith('/') &&
    !path.includes('\0') &&
    Buffer.byteLength(path) <= guestLimits.maxPathBytes &&
    !/(^|\/)\.\.?(\/|$)/.test(path);
  if (!valid) throw new HoldfastError('guest.invalid_path', undefined, { path: path.slice(0, 256) });
  return path;
}

/** Throws `guest.bad_request` unless it can name a background process. */
export function checkName(name: string): string {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new HoldfastError('guest.bad_request', 'A process name has 1 to 64 of letters, digits, ".", "_" and "-".');
  }
  return name;
}

function assignment(name: string, value: string): string {
  if (name === '' || name.includes('=')) {
    throw new HoldfastError('guest.bad_request', 'A variable needs a name without "=".', { name: name.slice(0, 64) });
  }
  return `${name}=${value}`;
}
