import { Argument, type Command } from 'commander';
import { addCommand, addGroup, dollars, wholeNumber } from '../../command.ts';

const count = wholeNumber(0, 999_999_999_999_999);
const repetitions = wholeNumber(2, 10_000);

const addCaps = (gateway: Command): void => {
  const group = addGroup(gateway, 'caps', 'what each run may use');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the caps of runs.',
    examples: [['gateway caps', 'of the workspace, of agents and of single runs']],
    load: async () => (await import('./control.ts')).listCaps,
  });
  addCommand(group, {
    usage: 'set',
    summary: 'Set the caps of each run; what is left out has none, or that of the agent or workspace.',
    examples: [
      ['gateway caps set --usd 2 --calls 200', 'of every run of the workspace'],
      ['gateway caps set --agent planner --steps 50 --repeated 8', 'of every run of an agent'],
      ['gateway caps set --run nightly-7 --usd 20', 'of one run'],
    ],
    configure: (command) =>
      command
        .option('--agent <agent>', 'of every run of this agent')
        .option('--run <run>', 'of this run')
        .option('--usd <dollars>', 'what it may cost', dollars)
        .option('--tokens <count>', 'tokens, in and out', count)
        .option('--calls <count>', 'calls of models', count)
        .option('--steps <count>', 'steps, as the header holdfast-step names them', count)
        .option('--repeated <count>', 'equal tool calls', repetitions)
        .option('--unchanged <count>', 'growing inputs without anything new', repetitions),
    load: async () => (await import('./control.ts')).setCaps,
  });
  addCommand(group, {
    usage: 'rm',
    summary: 'Remove the caps of the workspace, of an agent or of a run.',
    examples: [['gateway caps rm --run nightly-7', 'those of its agent and of the workspace stay']],
    configure: (command) => command.option('--agent <agent>', 'of this agent').option('--run <run>', 'of this run'),
    load: async () => (await import('./control.ts')).removeCaps,
  });
};

const addKills = (gateway: Command): void => {
  const kill = addCommand<{ reason?: string }>(gateway, {
    usage: 'kill',
    summary: 'Stop a key, an agent, a run or the workspace: calls under way end at once, and no new one begins.',
    examples: [
      ['gateway kill run nightly-7 --reason "loops"', 'one run'],
      ['gateway kill workspace', 'everything'],
    ],
    configure: (command) => command.option('--reason <text>', 'what callers are told'),
    load: async () => (await import('./control.ts')).setKill,
  });
  kill.addArgument(new Argument('<subject>', 'what to stop').choices(['key', 'agent', 'run', 'workspace']));
  kill.addArgument(new Argument('[id]', 'which one'));
  addCommand(gateway, {
    usage: 'kills',
    summary: 'List the kill switches in force.',
    examples: [['gateway kills --lifted', 'and those that were lifted']],
    configure: (command) => command.option('--lifted', 'also those that were lifted'),
    load: async () => (await import('./control.ts')).listKills,
  });
  addCommand(gateway, {
    usage: 'revive <kill...>',
    summary: 'Lift kill switches: calls may begin again.',
    examples: [['gateway revive kil_01hxyz', 'by the id that gateway kills shows']],
    load: async () => (await import('./control.ts')).liftKills,
  });
};

/** Commands that hold runs back. */
export const addControlCommands = (gateway: Command): void => {
  addCaps(gateway);
  addCommand(gateway, {
    usage: 'runs',
    summary: 'Show what runs under caps have used.',
    examples: [['gateway runs', 'those that were active last come first']],
    configure: (command) => command.option('--limit <count>', 'most runs', wholeNumber(1, 1_000), 20),
    load: async () => (await import('./control.ts')).listRuns,
  });
  addKills(gateway);
};
