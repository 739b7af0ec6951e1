import { once } from 'node:events';
import { constants } from 'node:os';
import { HoldfastError } from '@holdfast/core';
import { Sandbox } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';

const signalNumbers = new Map<string, number>(Object.entries(constants.signals));

export const openTerminal: Run<{ command?: string; user?: string }> = async (context, [id = ''], options) => {
  const { stdin, stdout } = process;
  if (stdin.isTTY !== true || stdout.isTTY !== true) throw new HoldfastError('cli.not_terminal');
  const client = await connect(context);
  const size = () => ({ rows: stdout.rows, cols: stdout.columns });
  await using shell = await new Sandbox(client, id).shell({ ...size(), ...options });

  // A connection that ended is told by the end of the output; what was typed into it is lost either way.
  const ignoreLost = () => undefined;
  const typed = (data: Uint8Array) => void shell.write(data).catch(ignoreLost);
  const resized = () => void shell.resize(size()).catch(ignoreLost);
  stdin.setRawMode(true);
  stdin.on('data', typed);
  stdout.on('resize', resized);
  try {
    for await (const chunk of shell.output()) if (!stdout.write(chunk)) await once(stdout, 'drain');
  } finally {
    stdout.off('resize', resized);
    stdin.off('data', typed);
    stdin.setRawMode(false);
    stdin.pause();
  }
  const exit = await shell.exit;
  if (exit === null) throw new HoldfastError('server.unreachable', 'The connection to the terminal was lost.');
  return exit.exitCode ?? 128 + (signalNumbers.get(exit.signal ?? '') ?? 0);
};
