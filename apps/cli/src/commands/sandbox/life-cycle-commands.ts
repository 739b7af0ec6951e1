import type { Command } from 'commander';
import { addCommand, duration, pair, wholeNumber } from '../../command.ts';

const dayMs = 86_400_000;

const addCreate = (group: Command): void => {
  addCommand(group, {
    usage: 'create [name]',
    summary: 'Create a sandbox; prints its id.',
    examples: [
      ['sandbox create', 'one of 512 MiB that stands by after 15 s without activity'],
      ['sandbox create work --memory 2048 --idle 10m', 'a larger and more patient one, called "work"'],
      ['sandbox create --label team=search --max-lifetime 7d', 'deleted after 7 days of running'],
    ],
    configure: (command) =>
      command
        .option('--template <template>', 'what it is a child of', 'base')
        .option('--memory <MiB>', '512, 1024, 2048, 4096 or 8192', wholeNumber(1, 1_048_576), 512)
        .option('--idle <duration>', 'stand by after so long without activity; 0 never', duration(dayMs), 15_000)
        .option('--max-lifetime <duration>', 'delete after so much running time; 0 never', duration(365 * dayMs), 0)
        .option('--label <name=value>', 'a label; may be repeated', pair),
    load: async () => (await import('./life-cycle.ts')).createSandbox,
  });
};

const addReaders = (group: Command): void => {
  addCommand(group, {
    usage: 'ls',
    summary: 'List the sandboxes of the workspace, newest first.',
    examples: [
      ['sandbox ls', 'all of them'],
      ['sandbox ls --state standby --json', 'those that stand by, as JSON'],
    ],
    configure: (command) => command.option('--state <state>', 'only those in this state'),
    load: async () => (await import('./life-cycle.ts')).listSandboxes,
  });
  addCommand(group, {
    usage: 'get <sandbox>',
    summary: 'Show one sandbox.',
    examples: [['sandbox get work', 'its state, limits and disk']],
    load: async () => (await import('./life-cycle.ts')).getSandbox,
  });
  addCommand(group, {
    usage: 'why <sandbox>',
    summary: 'Say why a sandbox is awake, and when it will stand by.',
    examples: [['sandbox why work', 'what holds it awake']],
    load: async () => (await import('./life-cycle.ts')).whySandbox,
  });
  addCommand(group, {
    usage: 'events <sandbox>',
    summary: 'Show what happened to a sandbox, oldest first.',
    examples: [['sandbox events work --after 12', 'what came after event 12']],
    configure: (command) =>
      command
        .option('--after <seq>', 'only events after this number', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
        .option('--limit <count>', 'most events shown', wholeNumber(1, 1000), 100),
    load: async () => (await import('./life-cycle.ts')).listEvents,
  });
};

const addChanges = (group: Command): void => {
  addCommand(group, {
    usage: 'fork <sandbox>',
    summary: 'Fork a sandbox with its memory, processes and disk.',
    examples: [
      ['sandbox fork work', 'one more, with an identity of its own'],
      ['sandbox fork work --count 3 --name try', 'try-1, try-2 and try-3'],
    ],
    configure: (command) =>
      command
        .option('--count <count>', 'how many', wholeNumber(1, 100), 1)
        .option('--name <name>', 'name of the first'),
    load: async () => (await import('./life-cycle.ts')).forkSandbox,
  });
  addCommand(group, {
    usage: 'standby <sandbox...>',
    summary: 'Stand by now: no process, no memory, resumed by the next request.',
    examples: [
      ['sandbox standby work', 'refused while something holds it awake'],
      ['sandbox standby work --force', 'even then'],
    ],
    configure: (command) => command.option('--force', 'also when something holds it awake'),
    load: async () => (await import('./life-cycle.ts')).standbySandboxes,
  });
  addCommand(group, {
    usage: 'resume <sandbox...>',
    summary: 'Resume now; every command that needs the sandbox does that by itself.',
    examples: [['sandbox resume work', 'ready for the next exec']],
    load: async () => (await import('./life-cycle.ts')).resumeSandboxes,
  });
  addCommand(group, {
    usage: 'keep-alive <sandbox>',
    summary: 'Hold a sandbox awake for a time.',
    examples: [
      ['sandbox keep-alive work --for 2h', 'awake for two hours from now'],
      ['sandbox keep-alive work --for 0', 'end that'],
    ],
    configure: (command) => command.option('--for <duration>', 'how long from now', duration(30 * dayMs), 3_600_000),
    load: async () => (await import('./life-cycle.ts')).keepAlive,
  });
  addCommand(group, {
    usage: 'rm <sandbox...>',
    summary: 'Delete sandboxes with all they store.',
    examples: [['sandbox rm work try try-2', 'three of them']],
    load: async () => (await import('./life-cycle.ts')).removeSandboxes,
  });
};

/** Commands that make, show and change sandboxes as a whole. */
export const addLifeCycleCommands = (group: Command): void => {
  addCreate(group);
  addReaders(group);
  addChanges(group);
};
