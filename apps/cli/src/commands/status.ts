import type { Run } from '../command.ts';
import { connect, serverAddress } from '../context.ts';
import { formatTable } from '../output.ts';
import { isReady } from '../server-process.ts';
import { allSandboxes } from './sandbox/life-cycle.ts';

export const status: Run<object> = async (context) => {
  const { url } = serverAddress(context);
  const ready = await isReady(url);
  const client = await connect(context);
  const { workspaceId, keyId, role } = await client.whoami();
  const states: Record<string, number> = {};
  for (const { state } of await allSandboxes(context)) states[state] = (states[state] ?? 0) + 1;
  context.output.result({ url, ready, workspaceId, keyId, role, sandboxes: states }, () => {
    const sandboxes = Object.entries(states).map(([state, count]) => `${count} ${state}`);
    return formatTable(
      ['FIELD', 'VALUE'],
      [
        ['server', url],
        ['ready', ready ? 'yes' : 'no'],
        ['workspace', workspaceId],
        ['key', `${keyId} (${role})`],
        ['sandboxes', sandboxes.length === 0 ? 'none' : sandboxes.join(', ')],
      ],
    );
  });
};
