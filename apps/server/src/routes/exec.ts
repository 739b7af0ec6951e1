import { type ExecEvent, type ExecRequest, sandboxRoutes } from '@holdfast/contract';
import { type Clock, HoldfastError } from '@holdfast/core';
import { collectOutput, type GuestClient, type GuestExec, type SandboxService } from '@holdfast/sandbox';
import { bindEvents, bindJson } from '../http/bind.ts';
import type { EventSink } from '../http/outgoing-stream.ts';
import { cancelOnAbort } from './abort.ts';
import { describeCommand, execEnd, guestCommand } from './guest-command.ts';

const start = (guest: GuestClient, body: ExecRequest): GuestExec =>
  guest.exec({ ...guestCommand(body), timeoutMs: body.timeoutMs, stdin: body.stdin !== undefined });

/** A command that ended, or does not read its input, is no error: what it did says what happened. */
const feed = async (exec: GuestExec, stdin: string | undefined): Promise<void> => {
  if (stdin === undefined) return;
  try {
    if (stdin !== '') await exec.write(Buffer.from(stdin));
    exec.end();
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === 'guest.stdin_closed')) throw error;
  }
};

/** Cuts at whole characters where bytes were left out would cost more than it gives: decoding replaces halves. */
const text = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();

const run = async (guest: GuestClient, body: ExecRequest, signal: AbortSignal) => {
  const exec = start(guest, body);
  return cancelOnAbort(
    signal,
    () => exec.cancel(),
    async () => {
      const [stdout, stderr, exit] = await Promise.all([
        collectOutput(exec.stdout, body.maxOutputBytes),
        collectOutput(exec.stderr, body.maxOutputBytes),
        exec.result,
        feed(exec, body.stdin),
      ]);
      return {
        ...execEnd(exit),
        stdout: text(stdout.bytes),
        stderr: text(stderr.bytes),
        droppedBytes: stdout.droppedBytes + stderr.droppedBytes,
      };
    },
  );
};

const forwardOutput = async (
  output: AsyncIterable<Uint8Array>,
  type: 'stdout' | 'stderr',
  out: EventSink<ExecEvent>,
): Promise<void> => {
  for await (const chunk of output) {
    const data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('base64');
    await out.send({ type, data });
  }
};

const stream = async (guest: GuestClient, body: ExecRequest, signal: AbortSignal, out: EventSink<ExecEvent>) => {
  const exec = start(guest, body);
  await cancelOnAbort(
    signal,
    () => exec.cancel(),
    async () => {
      const { pid } = await exec.started;
      await out.send({ type: 'started', pid });
      const [exit] = await Promise.all([
        exec.result,
        forwardOutput(exec.stdout, 'stdout', out),
        forwardOutput(exec.stderr, 'stderr', out),
        feed(exec, body.stdin),
      ]);
      await out.send({ type: 'exit', result: execEnd(exit) });
    },
  );
};

export const bindExec = (sandboxes: SandboxService, clock: Clock) => ({
  exec: bindJson(sandboxRoutes.exec, ({ principal, params, body, signal }) =>
    sandboxes.withGuest(principal, params.id, { kind: 'exec', detail: describeCommand(body) }, (guest) =>
      run(guest, body, signal),
    ),
  ),
  execStream: bindEvents(sandboxRoutes.execStream, clock, ({ principal, params, body, signal }, out) =>
    sandboxes.withGuest(principal, params.id, { kind: 'exec', detail: describeCommand(body) }, (guest) =>
      stream(guest, body, signal, out),
    ),
  ),
});
