import type { Command } from 'commander';
import { addCommand, duration, pair, wholeNumber } from '../../command.ts';

const dayMs = 86_400_000;

const addLimits = (command: Command): Command =>
  command
    .option('--cwd <path>', 'working directory')
    .option('--user <user>', 'user or uid to run as')
    .option('--env <name=value>', 'environment variable; may be repeated', pair)
    .option('--memory <MiB>', 'hard memory limit of the process tree', wholeNumber(16, 8192))
    .option('--max-processes <count>', 'most processes in the tree', wholeNumber(1, 4096))
    .option('--cpu <percent>', 'percent of one CPU', wholeNumber(1, 6400))
    .option('-c, --shell <text>', 'a line for the shell, instead of a command');

const addForeground = (group: Command): void => {
  addCommand(group, {
    usage: 'exec <sandbox> [command...]',
    summary: "Run a command; put -- before it. Ends with the command's exit code, or 128 + the signal that ended it.",
    examples: [
      ['sandbox exec work -- python3 -c "print(6*7)"', 'output comes as it is written'],
      ['sandbox exec work --shell "ls /etc | wc -l"', 'a line for the shell'],
      ['sandbox exec work -- sh -s < setup.sh', 'standard input goes along'],
      ['sandbox exec work --json -- uname -a', 'output, exit code and usage as one document'],
    ],
    configure: (command) =>
      addLimits(command)
        .option('-i, --interactive', 'send standard input even when it is a terminal')
        .option('-n, --no-stdin', 'do not send standard input')
        .option('--timeout <duration>', 'kill the process tree after so long; 0 never', duration(dayMs), 0),
    load: async () => (await import('./exec.ts')).execCommand,
  });
  addCommand(group, {
    usage: 'shell <sandbox>',
    summary: 'Open a terminal in a sandbox.',
    examples: [
      ['sandbox shell work', 'its login shell'],
      ['sandbox shell work --command python3', 'a program instead of the shell'],
    ],
    configure: (command) =>
      command
        .option('--command <command>', 'what to run instead of the login shell')
        .option('--user <user>', 'user or uid to run as'),
    load: async () => (await import('./terminal.ts')).openTerminal,
  });
};

const addBackground = (group: Command): void => {
  addCommand(group, {
    usage: 'start <sandbox> <process> [command...]',
    summary: 'Start a named background process; put -- before its command.',
    examples: [['sandbox start work web -- python3 -m http.server', 'continues after standby where it was']],
    configure: addLimits,
    load: async () => (await import('./processes.ts')).startProcess,
  });
  addCommand(group, {
    usage: 'ps <sandbox>',
    summary: 'List the background processes of a sandbox.',
    examples: [['sandbox ps work', 'with their state and peak memory']],
    load: async () => (await import('./processes.ts')).listProcesses,
  });
  addCommand(group, {
    usage: 'logs <sandbox> <process>',
    summary: 'Print the output of a background process.',
    examples: [
      ['sandbox logs work web', 'what its bounded log still holds'],
      ['sandbox logs work web --follow', 'and what comes, until it ends'],
    ],
    configure: (command) =>
      command
        .option('-f, --follow', 'until the process ends')
        .option('--limit <bytes>', 'only the last so many bytes', wholeNumber(0, 16_777_216)),
    load: async () => (await import('./processes.ts')).printLogs,
  });
  addCommand(group, {
    usage: 'stop <sandbox> <process>',
    summary: 'Stop a background process: the signal, then after 5 s SIGKILL.',
    examples: [['sandbox stop work web', 'waits until it is gone']],
    load: async () => (await import('./processes.ts')).stopProcess,
  });
};

/** Commands that run something in a sandbox. */
export const addProcessCommands = (group: Command): void => {
  addForeground(group);
  addBackground(group);
};
