import { once } from 'node:events';
import { formatCost, printable, type TailItem } from '@holdfast/contract';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatAge, formatTable } from '../../output.ts';

const clockTime = (iso: string): string => iso.slice(11, 23);

const lineOf = (item: TailItem): string => {
  switch (item.kind) {
    case 'event': {
      const { at, type, subject, data } = item.event;
      return `${clockTime(at)}  ${type}  ${subject}  ${JSON.stringify(data)}`;
    }
    case 'attempt': {
      const a = item.attempt;
      const tokens = a.outputTokens === null ? '' : `  ${a.inputTokens ?? 0} in, ${a.outputTokens} out`;
      const cost = a.costMicroUsd === null ? '' : `  ${formatCost(a.costMicroUsd)}`;
      const asked = a.route === null ? '' : `${a.route} → `;
      return `${clockTime(a.at)}  ${a.outcome}  ${asked}${a.provider}/${a.model}${tokens}${cost}  ${Math.round(a.latencyMs)} ms`;
    }
    case 'skipped':
      return `(${item.attempts} more attempts, faster than they could be shown)`;
  }
};

export const tail: Run<{ last: number; follow: boolean }> = async (context, _args, { last, follow }) => {
  const client = await connect(context);
  const { output } = context;
  const stop = new AbortController();
  const onInterrupt = (): void => stop.abort();
  process.once('SIGINT', onInterrupt);
  try {
    const items = await client.tailGateway({ query: { last, follow } }, { signal: stop.signal });
    for await (const item of items) {
      const line = output.json ? JSON.stringify(item) : printable(lineOf(item));
      if (!output.stdout.write(`${line}\n`)) await once(output.stdout, 'drain');
    }
  } catch (error) {
    // Whoever watches ends it by hand: that is no failure.
    if (!stop.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', onInterrupt);
  }
};

export const listWebhooks: Run<object> = async (context) => {
  const client = await connect(context);
  const now = context.now();
  context.output.result(await client.listWebhooks(), ({ items }) =>
    formatTable(
      ['ID', 'URL', 'EVENTS', 'AGE'],
      items.map((hook) => [hook.id, hook.url, hook.types.join(', ') || 'all', formatAge(hook.createdAt, now)]),
    ),
  );
};

export const createWebhook: Run<{ type?: readonly string[] }> = async (context, [url = ''], { type = [] }) => {
  const client = await connect(context);
  const created = await client.createWebhook({ body: { url, types: [...type] } });
  context.output.note(`Created ${created.id}. It is signed with this secret, which is not shown again:`);
  context.output.result(created, ({ secret }) => secret);
};

export const removeWebhooks: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.removeWebhook({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};

export const testWebhook: Run<object> = async (context, [id = '']) => {
  const client = await connect(context);
  context.output.result(await client.testWebhook({ params: { id } }), ({ deliveryId }) => deliveryId);
};

export const listDeliveries: Run<{ limit: number }> = async (context, [id = ''], { limit }) => {
  const client = await connect(context);
  const now = context.now();
  context.output.result(await client.listDeliveries({ params: { id }, query: { limit } }), ({ items }) =>
    formatTable(
      ['EVENT', 'STATE', 'TRIES', 'NEXT', 'LAST ERROR', 'AGE'],
      items.map((d) => [d.eventType, d.state, d.attempts, d.nextAt, d.lastError, formatAge(d.createdAt, now)]),
    ),
  );
};
