import { once } from 'node:events';
import { Sandbox } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatAge, formatBytes, formatTable } from '../../output.ts';
import { type GuestCommandOptions, guestCommand, guestLimits } from './guest-command.ts';

export const startProcess: Run<GuestCommandOptions> = async (context, [id = '', name = '', ...words], options) => {
  const command = guestCommand(words, options);
  const client = await connect(context);
  const started = await new Sandbox(client, id).spawn(name, command, guestLimits(options));
  context.output.result(started, ({ pid }) => `${name} runs as process ${pid}`);
};

export const listProcesses: Run<object> = async (context, [id = '']) => {
  const client = await connect(context);
  const items = await new Sandbox(client, id).processes();
  const now = context.now();
  context.output.result({ items }, () =>
    formatTable(
      ['NAME', 'PID', 'STATE', 'AGE', 'EXIT', 'PEAK MEMORY', 'COMMAND'],
      items.map((p) => [
        p.name,
        p.pid,
        p.state,
        formatAge(p.startedAt, now),
        p.exitCode ?? p.signal,
        formatBytes(p.memoryPeakBytes),
        p.argv.join(' '),
      ]),
    ),
  );
};

export const printLogs: Run<{ follow?: boolean; limit?: number }> = async (context, [id = '', name = ''], options) => {
  const client = await connect(context);
  const { output } = context;
  const query = { follow: options.follow === true, limitBytes: options.limit };
  const log = await client.processLogs({ params: { id, name }, query });
  if (output.json) {
    output.result({ text: await log.text() }, () => '');
    return;
  }
  for await (const chunk of log) if (!output.stdout.write(chunk)) await once(output.stdout, 'drain');
};

export const stopProcess: Run<object> = async (context, [id = '', name = '']) => {
  const client = await connect(context);
  const stopped = await new Sandbox(client, id).stopProcess(name);
  context.output.result(stopped, (p) => `${name} ended (${p.signal ?? `exit code ${p.exitCode ?? 'unknown'}`})`);
};
