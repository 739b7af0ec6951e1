import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HoldfastError } from '@holdfast/core';
import { Command, CommanderError } from 'commander';
import { addCompletionCommands } from './commands/completion-commands.ts';
import { addGatewayCommands } from './commands/gateway-commands.ts';
import { addInstallationCommands } from './commands/installation-commands.ts';
import { addKeyCommands } from './commands/key-commands.ts';
import { addSandboxCommands } from './commands/sandbox-commands.ts';
import { addTraceCommands } from './commands/trace-commands.ts';
import { checkout } from './configuration.ts';

const description = `Holdfast: open, self-hosted agent infrastructure.

Environment:
  HOLDFAST_HOME     data folder (~/.holdfast)
  HOLDFAST_URL      a server elsewhere, such as https://holdfast.example.org
  HOLDFAST_API_KEY  the key for it
  HOLDFAST_PORT     port of the server that "up" starts (7070)
  HOLDFAST_DEBUG    show the stack of an error`;

const version = (): string => {
  const text = readFileSync(join(checkout, 'package.json'), 'utf8');
  return /"version": "([^"]+)"/.exec(text)?.[1] ?? 'unknown';
};

// Help and version go to standard output; what is wrong is reported by the caller in the form that was asked for.
const quiet = (command: Command): void => {
  command.exitOverride().configureOutput({ outputError: () => undefined });
  command.commands.forEach(quiet);
};

/** The whole tree of commands. */
export const buildProgram = (): Command => {
  const program = new Command('holdfast')
    .description(description)
    .version(version(), '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show the help of a command')
    .showSuggestionAfterError(true);
  addInstallationCommands(program);
  addSandboxCommands(program);
  addGatewayCommands(program);
  addTraceCommands(program);
  addKeyCommands(program);
  addCompletionCommands(program);
  quiet(program);
  return program;
};

/** Runs one command line. Throws `HoldfastError`; `cli.usage` for what the tree of commands does not know. */
export const runProgram = async (args: readonly string[]): Promise<void> => {
  const program = buildProgram();
  if (args.length === 0) {
    program.outputHelp();
    return;
  }
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    const message =
      error.code === 'commander.help'
        ? 'A subcommand is missing.'
        : error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new HoldfastError('cli.usage', message, { reason: error.code }, { cause: error });
  }
};
