import type { Command } from 'commander';
import { addCommand, addGroup, wholeNumber } from '../command.ts';

/** `trace …` */
export const addTraceCommands = (program: Command): void => {
  const group = addGroup(program, 'trace', 'traces of agents, model calls, tools and sandboxes');
  addCommand(group, {
    usage: 'ls',
    summary: 'List traces, newest first.',
    examples: [
      ['trace ls', 'the last 20 traces'],
      ['trace ls --limit 100 --json', 'the last 100 as JSON'],
    ],
    configure: (command) => command.option('--limit <count>', 'most traces shown', wholeNumber(1, 1000), 20),
    load: async () => (await import('./traces.ts')).listTraces,
  });
  addCommand(group, {
    usage: 'show <trace>',
    summary: 'Show a trace as a tree with time, tokens and cost.',
    examples: [['trace show 4bf92f3577b34da6a3ce929d0e0e4736', 'every step of that run']],
    load: async () => (await import('./traces.ts')).showTrace,
  });
};
