import type { HoldfastError } from '@holdfast/core';
import { commandRequest, type GuestCommand, request } from './command.ts';
import type { GuestConnection } from './connection.ts';
import { markHandled, stdinClosedError } from './errors.ts';
import { type GuestExit, parseExit } from './exit.ts';
import { bytesOf } from './inbound-queue.ts';
import { type GuestStream, shapes } from './stream.ts';
import { Channel, Op, Tag } from './tags.ts';
import { ProtocolViolation } from './violation.ts';

export interface GuestExecOptions extends GuestCommand {
  /** A terminal: all output comes on stdout. */
  readonly pty?: TerminalSize;
  /** True to write to its standard input, which otherwise is /dev/null. */
  readonly stdin?: boolean;
  /** The whole cgroup is killed after it; 0 or absent none. */
  readonly timeoutMs?: number;
}

export interface TerminalSize {
  readonly rows: number;
  readonly cols: number;
}

/**
 * A running command. Both outputs must be read (or the process stops by back-pressure); leaving a loop over one of them
 * early cancels the command. A refused command rejects `started` and `result` alike.
 */
export interface GuestExec {
  readonly started: Promise<{ readonly pid: number }>;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Waits for credit. Rejects with `guest.stdin_closed` after `end`, without `stdin`, or when the process has ended. */
  write(bytes: Uint8Array): Promise<void>;
  /** End of standard input, after all writes. */
  end(): void;
  /** Sends a signal to the whole process group. */
  signal(signal: number): void;
  resize(size: TerminalSize): void;
  /** Kills its cgroup. */
  cancel(): void;
  readonly result: Promise<GuestExit>;
}

/** Throws `guest.bad_request` and `guest.too_large` for a command that cannot be sent. */
export function startExec(connection: GuestConnection, options: GuestExecOptions): GuestExec {
  const started = Promise.withResolvers<{ pid: number }>();
  const result = Promise.withResolvers<GuestExit>();
  let running = false;
  const takesInput = options.stdin === true || options.pty !== undefined;
  const fields = commandRequest(Op.exec, options)
    .number(Tag.timeoutMs, options.timeoutMs)
    .flag(Tag.pty, options.pty !== undefined)
    .number(Tag.rows, options.pty?.rows)
    .number(Tag.cols, options.pty?.cols)
    .flag(Tag.stdin, takesInput);
  const stream = connection.open(fields, shapes.exec, {
    event(event) {
      if (running) throw new ProtocolViolation('an exec started twice');
      running = true;
      started.resolve({ pid: event.requireNumber(Tag.pid) });
    },
    result(answer) {
      if (!running) throw new ProtocolViolation('an exec ended before it started');
      result.resolve(parseExit(answer));
    },
    failed(error: HoldfastError) {
      started.reject(error);
      result.reject(error);
    },
  });
  return {
    started: markHandled(started.promise),
    result: markHandled(result.promise),
    stdout: bytesOf(stream.queue(Channel.stdout)),
    stderr: bytesOf(stream.queue(Channel.stderr)),
    ...input(stream, takesInput),
    signal: (signal) => stream.control(request(Op.signal).number(Tag.signal, signal)),
    resize: ({ rows, cols }) => stream.control(request(Op.resize).number(Tag.rows, rows).number(Tag.cols, cols)),
    cancel: () => stream.cancel(),
  };
}

function input(stream: GuestStream, takesInput: boolean): Pick<GuestExec, 'write' | 'end'> {
  const { outbound } = stream;
  if (!takesInput || outbound === null)
    return { write: () => Promise.reject(stdinClosedError()), end: () => undefined };
  return { write: (bytes) => outbound.write(bytes), end: () => outbound.end() };
}
