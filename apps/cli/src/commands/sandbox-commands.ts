import type { Command } from 'commander';
import { addGroup } from '../command.ts';
import { addFileCommands } from './sandbox/file-commands.ts';
import { addLifeCycleCommands } from './sandbox/life-cycle-commands.ts';
import { addProcessCommands } from './sandbox/process-commands.ts';

/** `sandbox …` */
export const addSandboxCommands = (program: Command): void => {
  const group = addGroup(program, 'sandbox', 'microVM sandboxes');
  addLifeCycleCommands(group);
  addProcessCommands(group);
  addFileCommands(group);
};
