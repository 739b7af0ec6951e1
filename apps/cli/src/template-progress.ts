import { setTimeout as pause } from 'node:timers/promises';
import { HoldfastError } from '@holdfast/core';
import type { Client } from '@holdfast/sdk';
import type { Output, Progress } from './output.ts';

const pauseMs = 500;

/**
 * Waits until a template can be used, and shows how far its build is; the server builds the base template by itself when
 * it starts. Throws `template.build_failed` with the server's words.
 */
export const templateReady = async (client: Client, name: string, output: Output): Promise<void> => {
  for await (const _ of output.progress(`Building the template ${name}`, reports(client, name))) {
    // the bar is drawn as the reports go by
  }
};

async function* reports(client: Client, name: string): AsyncGenerator<Progress> {
  for (;;) {
    const { items } = await client.listTemplates();
    const template = items.find((item) => item.name === name);
    if (template === undefined || template.state === 'ready' || template.state === 'absent') return;
    if (template.state === 'failed')
      throw new HoldfastError('template.build_failed', template.error ?? undefined, { template: name });
    if (template.progress !== null) yield template.progress;
    await pause(pauseMs);
  }
}
