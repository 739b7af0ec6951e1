import { memoryTiersMib, sandboxState } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { SandboxRecord } from '@holdfast/sdk';
import type { Run } from '../../command.ts';
import { type Context, connect } from '../../context.ts';
import { formatAge, formatBytes, formatTable } from '../../output.ts';
import { templateReady } from '../../template-progress.ts';

/** The longest list that `ls` reads. */
const maxListed = 100_000;

const table = (items: readonly SandboxRecord[], nowMs: number): string =>
  formatTable(
    ['ID', 'NAME', 'STATE', 'AGE', 'ACTIVE', 'MEMORY', 'DISK', 'TEMPLATE'],
    items.map((s) => [
      s.id,
      s.name,
      s.state,
      formatAge(s.createdAt, nowMs),
      formatAge(s.lastActiveAt, nowMs),
      `${s.memoryMib} MiB`,
      formatBytes(s.storedBytes),
      s.template,
    ]),
  );

const millis = (ms: number): string => (ms === 0 ? 'never' : `${ms / 1000} s`);

const details = (s: SandboxRecord): string => {
  const labels = Object.entries(s.labels).map(([name, value]) => `${name}=${value}`);
  const rows: [string, string | null][] = [
    ['id', s.id],
    ['name', s.name],
    ['state', s.state],
    ['template', s.template],
    ['parent', s.parentId],
    ['memory', `${s.memoryMib} MiB`],
    ['vcpus', String(s.vcpus)],
    ['disk', `${formatBytes(s.storedBytes)} of ${s.diskMib} MiB`],
    ['standby after', millis(s.idleTimeoutMs)],
    ['deleted after', millis(s.maxLifetimeMs)],
    ['labels', labels.length === 0 ? null : labels.join(' ')],
    ['host', s.hostId],
    ['created', s.createdAt],
    ['active', s.lastActiveAt],
    ['notice', s.notice],
  ];
  return formatTable(['FIELD', 'VALUE'], rows);
};

const tierOf = (memoryMib: number) => {
  const tier = memoryTiersMib.find((candidate) => candidate === memoryMib);
  if (tier === undefined) {
    throw new HoldfastError('cli.usage', `--memory must be one of ${memoryTiersMib.join(', ')}.`, { memoryMib });
  }
  return tier;
};

interface CreateOptions {
  readonly template: string;
  readonly memory: number;
  readonly idle: number;
  readonly maxLifetime: number;
  readonly label?: Readonly<Record<string, string>>;
}

export const createSandbox: Run<CreateOptions> = async (context, [name], options) => {
  const memoryMib = tierOf(options.memory);
  const client = await connect(context);
  await templateReady(client, options.template, context.output);
  const created = await context.output.during('Creating a sandbox', () =>
    client.createSandbox({
      body: {
        name,
        template: options.template,
        memoryMib,
        idleTimeoutMs: options.idle,
        maxLifetimeMs: options.maxLifetime,
        labels: { ...options.label },
      },
    }),
  );
  context.output.result(created, ({ id }) => id);
};

/** Every sandbox of the workspace, up to `maxListed`. */
export const allSandboxes = async (context: Context, state?: SandboxRecord['state']): Promise<SandboxRecord[]> => {
  const client = await connect(context);
  const items: SandboxRecord[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listSandboxes({ query: { limit: 1000, cursor, state } });
    items.push(...page.items);
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined && items.length < maxListed);
  return items;
};

export const listSandboxes: Run<{ state?: string }> = async (context, _args, { state }) => {
  const wanted = sandboxState.optional().safeParse(state);
  if (!wanted.success) {
    throw new HoldfastError('cli.usage', `--state must be one of ${sandboxState.options.join(', ')}.`);
  }
  const items = await allSandboxes(context, wanted.data);
  context.output.result({ items }, () => table(items, context.now()));
};

export const getSandbox: Run<object> = async (context, [id = '']) => {
  const client = await connect(context);
  context.output.result(await client.getSandbox({ params: { id } }), details);
};

export const whySandbox: Run<object> = async (context, [id = '']) => {
  const client = await connect(context);
  const why = await client.whySandbox({ params: { id } });
  const now = context.now();
  context.output.result(why, ({ state, awake, reasons, standbyAt }) => {
    const lines = [awake ? `awake (${state})` : `not awake (${state})`];
    if (reasons.length > 0) {
      const rows = reasons.map((r) => [r.kind, r.detail, formatAge(r.since, now), r.until]);
      lines.push(formatTable(['REASON', 'DETAIL', 'SINCE', 'UNTIL'], rows).trimEnd());
    }
    if (standbyAt !== null) lines.push(`stands by at ${standbyAt}`);
    return lines.join('\n');
  });
};

export const listEvents: Run<{ after: number; limit: number }> = async (context, [id = ''], { after, limit }) => {
  const client = await connect(context);
  const page = await client.sandboxEvents({ params: { id }, query: { after, limit } });
  context.output.result(page, ({ items }) =>
    formatTable(
      ['SEQ', 'AT', 'TYPE', 'DATA'],
      items.map((e) => [e.seq, e.at, e.type, JSON.stringify(e.data)]),
    ),
  );
};

export const forkSandbox: Run<{ count: number; name?: string }> = async (context, [id = ''], { count, name }) => {
  const client = await connect(context);
  const forked = await context.output.during(`Forking ${id}`, () =>
    client.forkSandbox({ params: { id }, body: { count, name } }),
  );
  context.output.result(forked, ({ items }) => items.map((s) => s.id).join('\n'));
};

/** Does the same to each sandbox in turn; an error ends it, and what was done before stays done. */
const eachSandbox = async (
  context: Context,
  ids: readonly string[],
  change: (id: string) => Promise<SandboxRecord>,
): Promise<void> => {
  const items: SandboxRecord[] = [];
  for (const id of ids) items.push(await change(id));
  context.output.result({ items }, () => items.map((s) => `${s.id}  ${s.state}`).join('\n'));
};

export const standbySandboxes: Run<{ force?: boolean }> = async (context, ids, { force = false }) => {
  const client = await connect(context);
  await eachSandbox(context, ids, (id) => client.standbySandbox({ params: { id }, body: { force } }));
};

export const resumeSandboxes: Run<object> = async (context, ids) => {
  const client = await connect(context);
  await eachSandbox(context, ids, (id) => client.resumeSandbox({ params: { id } }));
};

export const keepAlive: Run<{ for: number }> = async (context, [id = ''], options) => {
  const client = await connect(context);
  const seconds = Math.ceil(options.for / 1000);
  await eachSandbox(context, [id], () => client.keepSandboxAlive({ params: { id }, body: { seconds } }));
};

export const removeSandboxes: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.deleteSandbox({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};
