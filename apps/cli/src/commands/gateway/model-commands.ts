import { type Command, Option } from 'commander';
import { addCommand, addGroup, duration, pair, wholeNumber, words } from '../../command.ts';

const kinds = ['openai', 'anthropic', 'gemini', 'bedrock', 'azure', 'openai-compatible'];
const dayMs = 86_400_000;

const addProviders = (gateway: Command): void => {
  const group = addGroup(gateway, 'providers', 'who answers model calls');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the providers that the workspace may use.',
    examples: [['gateway providers', 'with their models; keys are never shown']],
    load: async () => (await import('./models.ts')).listProviders,
  });
  addCommand(group, {
    usage: 'set <name>',
    summary: 'Make or replace a provider. Its key is stored encrypted and cannot be read back.',
    examples: [
      ['gateway providers set claude --kind anthropic --key-env ANTHROPIC_API_KEY', 'the key from the environment'],
      [
        'gateway providers set local --kind openai-compatible --base-url http://127.0.0.1:11434/v1',
        'a server of your own',
      ],
      [
        'gateway providers set groq --kind openai-compatible --base-url https://api.groq.com/openai/v1 --key-stdin',
        'the key from standard input',
      ],
    ],
    configure: (command) =>
      command
        .addOption(new Option('--kind <kind>', 'what it speaks').choices(kinds).makeOptionMandatory())
        .option('--base-url <url>', 'where it is, unless it is where its kind always is')
        .option('--model <model>', 'a model it serves; may be repeated', words)
        .option('--key-env <variable>', 'take its key from this variable')
        .option('--key-stdin', 'take its key from standard input')
        .option('--set <name=value>', 'any other setting, such as region=eu-west-1; may be repeated', pair),
    load: async () => (await import('./models.ts')).setProvider,
  });
  addCommand(group, {
    usage: 'rotate',
    summary: 'Seal all stored keys anew with a new master key.',
    examples: [['gateway providers rotate', 'of all workspaces; only for owners of the default one']],
    load: async () => (await import('./models.ts')).rotateMasterKey,
  });
  addCommand(group, {
    usage: 'rm <provider...>',
    summary: 'Remove providers that no model route names.',
    examples: [['gateway providers rm groq', 'with its key']],
    load: async () => (await import('./models.ts')).removeProviders,
  });
};

const addRoutes = (gateway: Command): void => {
  const group = addGroup(gateway, 'routes', 'what model names stand for');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the model routes with their targets.',
    examples: [['gateway routes', 'in the order in which targets are tried']],
    load: async () => (await import('./models.ts')).listRoutes,
  });
  addCommand(group, {
    usage: 'set <name>',
    summary: 'Make or replace a model route; calls under way keep the one they began with.',
    examples: [
      [
        'gateway routes set smart --target claude/claude-sonnet-4-5 --target openai/gpt-4.1',
        'the second when the first fails',
      ],
      [
        'gateway routes set cheap --strategy cost --target a/m1 --target b/m2 --cache 10m',
        'the cheaper one, answers kept for ten minutes',
      ],
      ['gateway routes set split --strategy weight --target a/m1,weight=9 --target b/m2,weight=1', 'nine calls of ten'],
    ],
    configure: (command) =>
      command
        .option(
          '--target <provider/model>',
          'provider and model, with ,weight=N and ,priority=N if need be; may be repeated, in order',
          (text: string, previous: readonly string[] | undefined) => [...(previous ?? []), text],
        )
        .addOption(
          new Option('--strategy <strategy>', 'which target comes first').choices([
            'priority',
            'weight',
            'latency',
            'cost',
          ]),
        )
        .option('--sticky', 'calls of one conversation go to the same target')
        .option('--retries <count>', 'how often all targets are tried again', wholeNumber(0, 5))
        .option('--deadline <duration>', 'until the first content of an answer', duration(3_600_000))
        .option('--cache <duration>', 'keep answers to equal requests so long', duration(30 * dayMs))
        .option('--similar <model>', 'also answer similar questions from the cache; the model embeds them')
        .option('--threshold <similarity>', 'how similar, from 0 to 1 (0.95)', Number),
    load: async () => (await import('./models.ts')).setRoute,
  });
  addCommand(group, {
    usage: 'rm <route...>',
    summary: 'Remove model routes.',
    examples: [['gateway routes rm smart', 'its name is unknown from the next call on']],
    load: async () => (await import('./models.ts')).removeRoutes,
  });
  addCommand(group, {
    usage: 'health',
    summary: 'Show how the targets of all routes are.',
    examples: [['gateway routes health', 'breakers, latency and counts as the server sees them']],
    load: async () => (await import('./models.ts')).showHealth,
  });
};

const addCache = (gateway: Command): void => {
  const group = addGroup(gateway, 'cache', 'answers that are kept');
  addCommand(group, {
    usage: 'show',
    isDefault: true,
    summary: 'Show how much the cache holds.',
    examples: [['gateway cache', 'entries and bytes of the workspace']],
    load: async () => (await import('./models.ts')).showCache,
  });
  addCommand(group, {
    usage: 'purge',
    summary: 'Forget cached answers.',
    examples: [
      ['gateway cache purge', 'all'],
      ['gateway cache purge --model smart', 'those of one model route'],
    ],
    configure: (command) => command.option('--model <model>', 'only of this model or route'),
    load: async () => (await import('./models.ts')).purgeCache,
  });
};

/** Commands about providers, model routes and the cache. */
export const addModelCommands = (gateway: Command): void => {
  addProviders(gateway);
  addRoutes(gateway);
  addCommand(gateway, {
    usage: 'import <file>',
    summary: 'Make providers and routes of a configuration file, in the form of LiteLLM or of Holdfast.',
    examples: [
      ['gateway import config.yaml --dry-run', 'only say what it would make'],
      ['gateway import config.yaml', 'os.environ/NAME takes the value of the variable NAME here'],
    ],
    configure: (command) => command.option('--dry-run', 'change nothing'),
    load: async () => (await import('./models.ts')).importFile,
  });
  addCache(gateway);
};
