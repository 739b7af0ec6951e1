import { type ProcessRecord, sandboxRoutes } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { GuestProcess, SandboxService } from '@holdfast/sandbox';
import { bindBytes, bindJson } from '../http/bind.ts';
import { cancelOnAbort } from './abort.ts';
import { describeCommand, guestCommand, signalName } from './guest-command.ts';

const recordOf = (process: GuestProcess): ProcessRecord => ({
  name: process.name,
  pid: process.pid,
  state: process.state,
  argv: [...process.argv],
  startedAt: new Date(process.startedMs).toISOString(),
  exitCode: process.exitCode,
  signal: signalName(process.signal),
  memoryPeakBytes: process.memoryPeakBytes,
  logDroppedBytes: process.logDroppedBytes,
});

const find = (processes: readonly GuestProcess[], name: string): GuestProcess => {
  const found = processes.find((process) => process.name === name);
  if (found === undefined) throw new HoldfastError('guest.process_not_found', undefined, { name });
  return found;
};

export const bindProcesses = (sandboxes: SandboxService) => ({
  startProcess: bindJson(sandboxRoutes.startProcess, ({ principal, params, body }) => {
    const activity = { kind: 'request' as const, detail: `start ${body.name}: ${describeCommand(body)}` };
    return sandboxes.withGuest(principal, params.id, activity, async (guest) => {
      await guest.spawn({ ...guestCommand(body), name: body.name, logLimitBytes: body.logLimitBytes });
      return recordOf(find(await guest.ps(), body.name));
    });
  }),
  listProcesses: bindJson(sandboxRoutes.listProcesses, ({ principal, params }) =>
    sandboxes.withGuest(principal, params.id, { kind: 'request', detail: 'list processes' }, async (guest) => ({
      items: (await guest.ps()).map(recordOf),
    })),
  ),
  processLogs: bindBytes(sandboxRoutes.processLogs, ({ principal, params, query, signal }, out) => {
    const kind = query.follow ? ('stream' as const) : ('request' as const);
    return sandboxes.withGuest(principal, params.id, { kind, detail: `logs of ${params.name}` }, async (guest) => {
      const { limitBytes } = query;
      if (query.follow) {
        // A quiet process may print nothing for long: the head must not wait for it, but for the process to exist.
        find(await guest.ps(), params.name);
        out.begin();
      }
      const logs = guest.logs(params.name, {
        follow: query.follow,
        ...(limitBytes === undefined ? {} : { limitBytes }),
      });
      await cancelOnAbort(
        signal,
        () => logs.cancel(),
        async () => {
          for await (const { data } of logs.output) await out.write(data);
          await logs.done;
        },
      );
    });
  }),
  stopProcess: bindJson(sandboxRoutes.stopProcess, ({ principal, params }) => {
    const activity = { kind: 'request' as const, detail: `stop ${params.name}` };
    return sandboxes.withGuest(principal, params.id, activity, async (guest) => {
      const process = find(await guest.ps(), params.name);
      const exit = await guest.stop(params.name);
      return recordOf({ ...process, ...exit, state: 'exited' });
    });
  }),
});
