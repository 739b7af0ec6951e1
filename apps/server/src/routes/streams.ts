import { sandboxRoutes } from '@holdfast/contract';
import { type Clock, HoldfastError } from '@holdfast/core';
import type { GuestExec, GuestSocket, SandboxService } from '@holdfast/sandbox';
import { z } from 'zod';
import { bindEvents, bindSocket } from '../http/bind.ts';
import type { MessageSocket } from '../http/message-socket.ts';
import { cancelOnAbort } from './abort.ts';
import { signalName } from './guest-command.ts';

const loginShell = 'if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l';

const resize = z.object({ rows: z.number().int().min(1).max(1000), cols: z.number().int().min(1).max(1000) });

const parseResize = (text: string): z.output<typeof resize> | null => {
  try {
    return resize.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
};

/** Keys and sizes from the client. When the connection ends, so does the terminal. */
const typeInto = async (exec: GuestExec, channel: MessageSocket): Promise<void> => {
  for await (const message of channel.messages()) {
    if (message.kind === 'bytes') await exec.write(message.data);
    else {
      const size = parseResize(message.text);
      if (size === null) throw new HoldfastError('request.invalid', 'A text message must be {"rows","cols"}.');
      exec.resize(size);
    }
  }
  exec.cancel();
};

const isInputClosed = (error: unknown): boolean =>
  error instanceof HoldfastError && (error.code === 'guest.stdin_closed' || error.code === 'guest.disconnected');

const runTerminal = async (exec: GuestExec, channel: MessageSocket): Promise<void> => {
  const typing = typeInto(exec, channel).catch((error: unknown) => {
    exec.cancel();
    if (!isInputClosed(error)) throw error;
  });
  const printing = (async () => {
    for await (const chunk of exec.stdout) await channel.send(chunk);
    const exit = await exec.result;
    await channel.send(JSON.stringify({ exitCode: exit.exitCode, signal: signalName(exit.signal) }));
    channel.close(1000);
  })();
  await Promise.all([typing, printing]);
};

const toGuest = async (channel: MessageSocket, socket: GuestSocket): Promise<void> => {
  for await (const message of channel.messages()) {
    if (message.kind === 'text') throw new HoldfastError('request.invalid', 'Only binary messages are forwarded.');
    if (socket.writableEnded || socket.destroyed) break;
    if (!socket.write(message.data)) await drained(socket);
  }
  socket.end();
};

const drained = (socket: GuestSocket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });

const fromGuest = async (channel: MessageSocket, socket: GuestSocket): Promise<void> => {
  for await (const chunk of socket) if (chunk instanceof Uint8Array) await channel.send(chunk);
  channel.close(1000);
};

export const bindStreams = (sandboxes: SandboxService, clock: Clock) => ({
  shell: bindSocket(sandboxRoutes.shell, ({ principal, params, query, signal }, accept) => {
    const { rows, cols, command, user } = query;
    const activity = { kind: 'shell' as const, detail: command?.slice(0, 120) ?? 'login shell' };
    return sandboxes.withGuest(principal, params.id, activity, async (guest) => {
      const program = { shell: command ?? loginShell };
      const env = { TERM: 'xterm-256color' };
      const exec = guest.exec({ ...program, env, pty: { rows, cols }, ...(user === undefined ? {} : { user }) });
      await cancelOnAbort(
        signal,
        () => exec.cancel(),
        async () => {
          await exec.started;
          const channel = await accept();
          await runTerminal(exec, channel).finally(() => exec.cancel());
        },
      );
    });
  }),
  forwardPort: bindSocket(sandboxRoutes.forwardPort, ({ principal, params, signal }, accept) => {
    const activity = { kind: 'forward' as const, detail: `port ${params.port}` };
    return sandboxes.withGuest(principal, params.id, activity, async (guest) => {
      const socket = await guest.connect(params.port);
      const destroy = (): void => void socket.destroy();
      await cancelOnAbort(signal, destroy, async () => {
        const channel = await accept();
        await Promise.all([toGuest(channel, socket), fromGuest(channel, socket)]);
      }).finally(destroy);
    });
  }),
  watchFiles: bindEvents(sandboxRoutes.watchFiles, clock, ({ principal, params, query, signal }, out) => {
    const activity = { kind: 'watch' as const, detail: query.path.slice(0, 160) };
    return sandboxes.withGuest(principal, params.id, activity, async (guest) => {
      // A watch of what is not there must fail before the stream begins.
      await guest.stat(query.path);
      const watch = guest.watch(query.path, { recursive: query.recursive });
      await cancelOnAbort(
        signal,
        () => watch.cancel(),
        async () => {
          out.begin();
          for await (const { event, path, to } of watch.events) await out.send({ type: event, path, to });
        },
      );
    });
  }),
});
