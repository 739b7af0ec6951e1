import type { Command } from 'commander';
import { addCommand, wholeNumber } from '../../command.ts';

const far = Number.MAX_SAFE_INTEGER;

/** Commands that move files. */
export const addFileCommands = (group: Command): void => {
  addCommand(group, {
    usage: 'cp <from> <to>',
    summary: 'Copy a file or directory into or out of a sandbox; a path in a sandbox is SANDBOX:/PATH.',
    examples: [
      ['sandbox cp ./project work:/root/project', 'a directory with all in it'],
      ['sandbox cp work:/root/report.html .', 'a file, under its own name'],
      ['sandbox cp a.txt work:/tmp/', 'into a directory'],
    ],
    load: async () => (await import('./copy.ts')).copy,
  });
  addCommand(group, {
    usage: 'read <sandbox> <path>',
    summary: 'Write the content of a file to standard output.',
    examples: [
      ['sandbox read work /etc/hostname', 'a small one'],
      ['sandbox read work /var/log/big.log --offset 1048576 --length 4096', 'a part of a large one'],
    ],
    configure: (command) =>
      command
        .option('--offset <bytes>', 'first byte', wholeNumber(0, far))
        .option('--length <bytes>', 'most bytes', wholeNumber(0, far)),
    load: async () => (await import('./files.ts')).readFile,
  });
  addCommand(group, {
    usage: 'write <sandbox> <path>',
    summary: 'Write standard input to a file, atomically and durably.',
    examples: [['sandbox write work /root/run.sh --mode 755 --parents < run.sh', 'a script']],
    configure: (command) =>
      command
        .option('--mode <octal>', 'permissions, such as 644')
        .option('--parents', 'make missing directories')
        .option('--user <user>', 'who owns it'),
    load: async () => (await import('./files.ts')).writeFile,
  });
};
