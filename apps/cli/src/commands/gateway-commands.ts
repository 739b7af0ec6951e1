import type { Command } from 'commander';
import { addGroup } from '../command.ts';
import { addAccessCommands } from './gateway/access-commands.ts';
import { addControlCommands } from './gateway/control-commands.ts';
import { addModelCommands } from './gateway/model-commands.ts';
import { addSpendingCommands } from './gateway/spending-commands.ts';
import { addWatchCommands } from './gateway/watch-commands.ts';

/** `gateway …` */
export const addGatewayCommands = (program: Command): void => {
  const group = addGroup(program, 'gateway', 'the model gateway: providers, routes, keys, budgets and what was spent');
  addModelCommands(group);
  addAccessCommands(group);
  addSpendingCommands(group);
  addControlCommands(group);
  addWatchCommands(group);
};
