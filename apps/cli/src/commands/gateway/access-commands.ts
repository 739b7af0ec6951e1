import { type Command, Option } from 'commander';
import { addCommand, addGroup, duration, words } from '../../command.ts';

const yearMs = 366 * 86_400_000;

const addKeys = (gateway: Command): void => {
  const group = addGroup(gateway, 'keys', 'virtual keys: bound to a team, user, agent, run and models');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the keys with what they are bound to.',
    examples: [['gateway keys', 'never their text']],
    load: async () => (await import('./access.ts')).listVirtualKeys,
  });
  addCommand(group, {
    usage: 'create',
    summary: 'Create a virtual key; its text is shown once.',
    examples: [
      ['gateway keys create --name planner --agent planner --model smart', 'for one agent and one route'],
      ['gateway keys create --name job --run nightly-7 --expires 2h', 'for one run, for two hours'],
    ],
    configure: (command) =>
      command
        .requiredOption('--name <name>', 'what the key is for')
        .addOption(
          new Option('--role <role>', 'what it may do').choices(['owner', 'developer', 'viewer']).default('developer'),
        )
        .option('--user <user>', 'id or name')
        .option('--team <team>', 'id or name')
        .option('--agent <agent>', 'id or name')
        .option('--run <run>', 'the one run it is for')
        .option('--model <model>', 'a model or route it may ask for, or a beginning with *; may be repeated', words)
        .option('--expires <duration>', 'how long it works', duration(10 * yearMs)),
    load: async () => (await import('./access.ts')).createVirtualKey,
  });
  addCommand(group, {
    usage: 'revoke <key...>',
    summary: 'Revoke keys, at once and for good.',
    examples: [['gateway keys revoke key_01hxyz', 'calls under way go on; see gateway kill']],
    load: async () => (await import('../keys.ts')).revokeKeys,
  });
};

const addMembers = (gateway: Command): void => {
  const teams = addGroup(gateway, 'teams', 'groups of users, agents and keys');
  addCommand(teams, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the teams.',
    examples: [['gateway teams', 'by name']],
    load: async () => (await import('./access.ts')).listTeams,
  });
  addCommand(teams, {
    usage: 'create <name>',
    summary: 'Create a team.',
    examples: [['gateway teams create research', 'to give it a budget']],
    load: async () => (await import('./access.ts')).createTeam,
  });
  addCommand(teams, {
    usage: 'rm <team...>',
    summary: 'Remove teams that nothing is of.',
    examples: [['gateway teams rm research', 'by id or name']],
    load: async () => (await import('./access.ts')).removeTeams,
  });
  const agents = addGroup(gateway, 'agents', 'programs that call models by themselves');
  addCommand(agents, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the agents.',
    examples: [['gateway agents', 'by name']],
    load: async () => (await import('./access.ts')).listAgents,
  });
  addCommand(agents, {
    usage: 'create <name>',
    summary: 'Make an agent known.',
    examples: [['gateway agents create planner --team research', 'so that keys and budgets can name it']],
    configure: (command) => command.option('--team <team>', 'id or name'),
    load: async () => (await import('./access.ts')).createAgent,
  });
  addCommand(agents, {
    usage: 'rm <agent...>',
    summary: 'Remove agents that no key is bound to.',
    examples: [['gateway agents rm planner', 'by id or name']],
    load: async () => (await import('./access.ts')).removeAgents,
  });
};

/** Commands about who may call. */
export const addAccessCommands = (gateway: Command): void => {
  addKeys(gateway);
  addMembers(gateway);
};
