import { type Command, Option } from 'commander';
import { addCommand, addGroup } from '../command.ts';

/** `key …` */
export const addKeyCommands = (program: Command): void => {
  const group = addGroup(program, 'key', 'API keys of the workspace');
  addCommand(group, {
    usage: 'create',
    summary: 'Create a key; its text is shown once.',
    examples: [
      ['key create --role viewer --name dashboard', 'a key that can only read'],
      ['key create --name ci --json | jq -r .key', 'only the text of the key'],
    ],
    configure: (command) =>
      command
        .requiredOption('--name <name>', 'what the key is for')
        .addOption(
          new Option('--role <role>', 'what it may do').choices(['owner', 'developer', 'viewer']).default('developer'),
        ),
    load: async () => (await import('./keys.ts')).createKey,
  });
  addCommand(group, {
    usage: 'ls',
    summary: 'List the keys, newest first, without their text.',
    examples: [['key ls', 'all keys with their role and last use']],
    load: async () => (await import('./keys.ts')).listKeys,
  });
  addCommand(group, {
    usage: 'revoke <key...>',
    summary: 'Revoke keys, at once and for good.',
    examples: [['key revoke key_01hxyz', 'that key works no longer']],
    load: async () => (await import('./keys.ts')).revokeKeys,
  });
};
