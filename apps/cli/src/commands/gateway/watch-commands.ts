import type { Command } from 'commander';
import { addCommand, addGroup, wholeNumber, words } from '../../command.ts';

const addWebhooks = (gateway: Command): void => {
  const group = addGroup(gateway, 'webhooks', 'who is told of events over HTTP');
  addCommand(group, {
    usage: 'ls',
    isDefault: true,
    summary: 'List the webhooks.',
    examples: [['gateway webhooks', 'without their secrets']],
    load: async () => (await import('./watch.ts')).listWebhooks,
  });
  addCommand(group, {
    usage: 'create <url>',
    summary: 'Have events sent to a URL; the secret that signs them is shown once.',
    examples: [
      ['gateway webhooks create https://example.com/hook --type budget.threshold', 'only when a threshold is passed'],
    ],
    configure: (command) => command.option('--type <type>', 'only events of this type; may be repeated', words),
    load: async () => (await import('./watch.ts')).createWebhook,
  });
  addCommand(group, {
    usage: 'rm <webhook...>',
    summary: 'Remove webhooks.',
    examples: [['gateway webhooks rm whk_01hxyz', 'with what was not delivered yet']],
    load: async () => (await import('./watch.ts')).removeWebhooks,
  });
  addCommand(group, {
    usage: 'test <webhook>',
    summary: 'Send a webhook an event of the type webhook.test.',
    examples: [['gateway webhooks test whk_01hxyz', 'see gateway webhooks deliveries for what became of it']],
    load: async () => (await import('./watch.ts')).testWebhook,
  });
  addCommand(group, {
    usage: 'deliveries <webhook>',
    summary: 'List the deliveries of a webhook, newest first.',
    examples: [['gateway webhooks deliveries whk_01hxyz', 'with the last error of each']],
    configure: (command) => command.option('--limit <count>', 'most deliveries', wholeNumber(1, 1_000), 20),
    load: async () => (await import('./watch.ts')).listDeliveries,
  });
};

/** Commands that show what happens. */
export const addWatchCommands = (gateway: Command): void => {
  addCommand(gateway, {
    usage: 'tail',
    summary: 'Watch events and attempts as they come; with --json one document a line.',
    examples: [
      ['gateway tail', 'until Ctrl-C'],
      ['gateway tail --no-follow --last 50', 'only the last 50 events'],
    ],
    configure: (command) =>
      command
        .option('--last <count>', 'events of the past to begin with', wholeNumber(1, 1_000), 20)
        .option('--no-follow', 'end after those'),
    load: async () => (await import('./watch.ts')).tail,
  });
  addWebhooks(gateway);
};
