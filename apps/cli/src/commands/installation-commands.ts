import { type Command, Option } from 'commander';
import { addCommand, duration, wholeNumber } from '../command.ts';
import { stepNames } from './test/step-names.ts';

const hourMs = 3_600_000;

const addServerCommands = (program: Command): void => {
  addCommand(program, {
    usage: 'up',
    summary: 'Start the server on the data folder, in the foreground unless told.',
    examples: [
      ['up', 'until Ctrl-C'],
      ['up --detach --port 8080', 'in the background; ends with "holdfast down"'],
    ],
    configure: (command) =>
      command
        .option('-d, --detach', 'return when it is ready')
        .option('-p, --port <port>', 'port to listen on; 0 any free one', wholeNumber(0, 65_535))
        .option('--wait <duration>', 'with --detach: how long to wait for it', duration(hourMs), 600_000),
    load: async () => (await import('./server.ts')).up,
  });
  addCommand(program, {
    usage: 'down',
    summary: 'Stop the server of the data folder; its sandboxes stand by.',
    examples: [['down', 'returns when it is gone']],
    configure: (command) => command.option('--wait <duration>', 'how long to wait for it', duration(hourMs), 120_000),
    load: async () => (await import('./server.ts')).down,
  });
  addCommand(program, {
    usage: 'status',
    summary: 'Show whether a server answers, who this key is and what its sandboxes do.',
    examples: [['status --json', 'for scripts; exit code 1 when no server answers']],
    load: async () => (await import('./status.ts')).status,
  });
};

const addCheckCommands = (program: Command): void => {
  addCommand(program, {
    usage: 'doctor',
    summary: 'Check this machine: what is there, what is missing, which accelerator runs the sandboxes.',
    examples: [['doctor', 'exit code 1 when something is broken']],
    configure: (command) => command.option('--no-probe', 'do not boot a guest to find out about the accelerator'),
    load: async () => (await import('./doctor.ts')).doctor,
  });
  addCommand(program, {
    usage: 'test',
    summary: 'Run every check and test; the last line says how many passed and failed.',
    examples: [
      ['test', 'all steps, with 40 kills in the chaos step'],
      ['test --all', 'with 200 kills'],
      ['test --only unit tidy', 'two of the steps'],
    ],
    configure: (command) =>
      command
        .option('--all', '200 kills in the chaos step instead of 40')
        .addOption(new Option('--only <step...>', 'only these steps').choices(stepNames)),
    load: async () => (await import('./test.ts')).test,
  });
  addCommand(program, {
    usage: 'bench <name>',
    summary: 'Run a benchmark of the bench folder; with --json one flat object of numbers.',
    examples: [['bench sandbox --json', 'resume, create, standby, fork, exec']],
    configure: (command) => command.option('--smoke', 'few samples: shows that it runs, not how fast'),
    load: async () => (await import('./bench.ts')).bench,
  });
};

/** Commands about the installation as a whole. */
export const addInstallationCommands = (program: Command): void => {
  addCommand(program, {
    usage: 'demo',
    summary: 'Watch an agent fix a failing test in a sandbox that stands by, resumes and forks.',
    examples: [
      ['demo', 'with recorded model replies, everything else live'],
      ['demo --json', 'its figures as one document'],
    ],
    load: async () => (await import('./demo.ts')).demo,
  });
  addServerCommands(program);
  addCheckCommands(program);
};
