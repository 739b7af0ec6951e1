import { type Command, Option } from 'commander';
import { addCommand, addGroup, dollars, duration, wholeNumber, words } from '../../command.ts';

const yearMs = 366 * 86_400_000;
const count = wholeNumber(1, 999_999_999_999_999);

const addAmount = (command: Command): Command =>
  command
    .option('--usd <dollars>', 'so many dollars', dollars)
    .option('--requests <count>', 'so many requests', count)
    .option('--tokens <count>', 'so many tokens', count)
    .option('--threshold <percent>', 'tell when so much is used; may be repeated', words);

const addBudgets = (gateway: Command): void => {
  const group = addGroup(gateway, 'budgets', 'how much may be spent, and limits of requests and tokens');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the budgets with how full they are.',
    examples: [['gateway budgets', 'spent, and held for calls under way']],
    load: async () => (await import('./spending.ts')).listBudgets,
  });
  addCommand(group, {
    usage: 'create',
    summary: 'Create a budget; it counts from the next call on.',
    examples: [
      ['gateway budgets create --usd 50 --period month', 'of the whole workspace'],
      [
        'gateway budgets create --usd 5 --period day --scope team --subject research --threshold 80',
        'of one team, told of at 80 %',
      ],
      ['gateway budgets create --requests 60 --period minute --scope key', 'a limit for each key by itself'],
      ['gateway budgets create --usd 1 --period total --scope run', 'what each run may cost'],
    ],
    configure: (command) =>
      addAmount(command)
        .addOption(
          new Option('--period <period>', 'how long it is for')
            .choices(['minute', 'hour', 'day', 'week', 'month', 'total'])
            .makeOptionMandatory(),
        )
        .addOption(
          new Option('--scope <scope>', 'whose it is')
            .choices(['workspace', 'team', 'user', 'key', 'agent', 'run'])
            .default('workspace'),
        )
        .option('--subject <id>', 'which one of the scope; without it each has the amount for itself')
        .option('--endpoint <endpoint>', 'only calls of this kind, such as embeddings')
        .option('--time-zone <zone>', 'where days, weeks and months begin (UTC)')
        .option('--soft', 'refuse nothing, only tell'),
    load: async () => (await import('./spending.ts')).createBudget,
  });
  addCommand(group, {
    usage: 'set <budget>',
    summary: 'Change the amount or the thresholds of a budget.',
    examples: [['gateway budgets set bgt_01hxyz --usd 100', 'counts from the next call on']],
    configure: (command) =>
      addAmount(command).option('--soft', 'refuse nothing any more').option('--hard', 'refuse calls'),
    load: async () => (await import('./spending.ts')).changeBudget,
  });
  addCommand(group, {
    usage: 'rm <budget...>',
    summary: 'Remove budgets: they hold no call back any more.',
    examples: [['gateway budgets rm bgt_01hxyz', 'what was spent stays in the ledger']],
    load: async () => (await import('./spending.ts')).removeBudgets,
  });
};

const addPrices = (gateway: Command): void => {
  const group = addGroup(gateway, 'prices', 'what models cost, where the workspace knows better than the release');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the prices that the workspace has set.',
    examples: [['gateway prices', 'they come before those of the release']],
    load: async () => (await import('./spending.ts')).listPrices,
  });
  addCommand(group, {
    usage: 'set <provider> <model>',
    summary: 'Set what a model costs, in dollars for a million tokens; it holds from now on.',
    examples: [
      ['gateway prices set openai our-finetune --input 0.8 --output 3.2', 'a model that the release does not know'],
    ],
    configure: (command) =>
      command
        .requiredOption('--input <dollars>', 'a million tokens of input', dollars)
        .requiredOption('--output <dollars>', 'a million tokens of output', dollars)
        .option('--cache-read <dollars>', 'a million tokens read from the cache of the provider', dollars)
        .option('--context <tokens>', 'longest prompt and answer together', count),
    load: async () => (await import('./spending.ts')).setPrice,
  });
  addCommand(group, {
    usage: 'rm <price...>',
    summary: 'Remove prices that the workspace has set.',
    examples: [['gateway prices rm prc_01hxyz', 'what was charged stays']],
    load: async () => (await import('./spending.ts')).removePrices,
  });
};

/** Commands about what may be spent, and what was. */
export const addSpendingCommands = (gateway: Command): void => {
  addBudgets(gateway);
  addPrices(gateway);
  addCommand(gateway, {
    usage: 'usage',
    summary: 'Show calls, tokens and cost.',
    examples: [
      ['gateway usage', 'by model, of the last 30 days'],
      ['gateway usage --by day,team --since 7d', 'by day and team, of the last week'],
    ],
    configure: (command) =>
      command
        .option(
          '--by <what>',
          'day, endpoint, route, variant, provider, model, team, user, key, agent or run; may be repeated',
          words,
        )
        .option('--since <duration>', 'how far back', duration(10 * yearMs))
        .option('--time-zone <zone>', 'where days begin (UTC)')
        .option('--limit <count>', 'most rows', wholeNumber(1, 10_000), 1_000),
    load: async () => (await import('./spending.ts')).showUsage,
  });
  addCommand(gateway, {
    usage: 'attempts',
    summary: 'Read the ledger, newest first.',
    examples: [
      ['gateway attempts --limit 5', 'the last five attempts'],
      ['gateway attempts --run nightly-7 --json', 'all that is known of a run'],
    ],
    configure: (command) =>
      command
        .option('--run <run>', 'only of this run')
        .option('--limit <count>', 'most rows', wholeNumber(1, 1_000), 20),
    load: async () => (await import('./spending.ts')).listAttempts,
  });
};
