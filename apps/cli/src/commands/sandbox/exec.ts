import { once } from 'node:events';
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import { HoldfastError } from '@holdfast/core';
import { type ExecOptions, Sandbox } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { type GuestCommandOptions, guestCommand, guestLimits } from './guest-command.ts';

/** The API takes standard input as UTF-8 text of at most so many characters. */
const maxStdinChars = 1_000_000;

interface ExecCommandOptions extends GuestCommandOptions {
  readonly json?: boolean;
  readonly interactive?: boolean;
  readonly stdin: boolean;
  readonly timeout: number;
}

/** A closed descriptor or a device such as /dev/null has nothing to send and must not be waited for. */
const hasContent = (): boolean => {
  try {
    const stat = fstatSync(0);
    return stat.isFIFO() || stat.isFile() || stat.isSocket();
  } catch {
    return false;
  }
};

const readStdin = async (options: ExecCommandOptions): Promise<string | undefined> => {
  if (!options.stdin || !(options.interactive === true || hasContent())) return undefined;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let text = '';
  try {
    for await (const chunk of process.stdin) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length > maxStdinChars) {
        const help = 'copy it in with "sandbox cp" and read it from there';
        throw new HoldfastError('request.too_large', `Standard input is longer than ${maxStdinChars}; ${help}.`);
      }
    }
    return text + decoder.decode();
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    throw new HoldfastError('request.invalid', 'Standard input is not UTF-8 text.', { field: 'stdin' }, { cause });
  }
};

const write = async (stream: NodeJS.WriteStream, data: Uint8Array): Promise<void> => {
  if (!stream.write(data)) await once(stream, 'drain');
};

const signalNumbers = new Map<string, number>(Object.entries(constants.signals));

/** As a shell has it: the exit code, or 128 + the signal's number; 124 for a timeout as coreutils' `timeout` has it. */
const shellCode = (result: { exitCode: number | null; signal: string | null; timedOut: boolean }): number => {
  if (result.timedOut) return 124;
  return result.exitCode ?? 128 + (signalNumbers.get(result.signal ?? '') ?? 0);
};

export const execCommand: Run<ExecCommandOptions> = async (context, [id = '', ...words], options) => {
  const command = guestCommand(words, options);
  const client = await connect(context);
  const sandbox = new Sandbox(client, id);
  const stdin = await readStdin(options);
  const input: ExecOptions = { ...guestLimits(options), timeoutMs: options.timeout, stdin };
  const { output } = context;
  if (output.json) {
    const result = await sandbox.exec(command, input);
    output.result(result, () => '');
    return shellCode(result);
  }
  await using events = await sandbox.execStream(command, input);
  for await (const event of events) {
    if (event.type === 'stdout') await write(output.stdout, event.data);
    else if (event.type === 'stderr') await write(output.stderr, event.data);
    else if (event.type === 'exit') {
      const { result } = event;
      if (result.timedOut) output.note(`holdfast: killed after ${options.timeout / 1000} s`);
      else if (result.outOfMemory) output.note('holdfast: it ran out of memory');
      return shellCode(result);
    }
  }
  throw new HoldfastError('server.answer_invalid', 'The stream ended before the command did.');
};
