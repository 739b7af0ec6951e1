import type { ApiKey, KeyRole } from '@holdfast/contract';
import type { Run } from '../command.ts';
import { connect } from '../context.ts';
import { formatAge, formatTable } from '../output.ts';

export const createKey: Run<{ name: string; role: KeyRole }> = async (context, _args, { name, role }) => {
  const client = await connect(context);
  const created = await client.createKey({ body: { name, role } });
  context.output.note(`Created ${created.id} (${role}). Keep this text, it is not shown again:`);
  context.output.result(created, ({ key }) => key);
};

export const listKeys: Run<object> = async (context) => {
  const client = await connect(context);
  const items: ApiKey[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.listKeys({ query: { limit: 1000, cursor } });
    items.push(...page.items);
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined);
  const now = context.now();
  const age = (at: string | null) => (at === null ? null : formatAge(at, now));
  context.output.result({ items }, () =>
    formatTable(
      ['ID', 'NAME', 'ROLE', 'KEY', 'AGE', 'LAST USED', 'REVOKED'],
      items.map((k) => [k.id, k.name, k.role, k.hint, age(k.createdAt), age(k.lastUsedAt), age(k.revokedAt)]),
    ),
  );
};

export const revokeKeys: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) {
    await client.revokeKey({ params: { id } });
    context.output.note(`Revoked ${id}.`);
  }
  context.output.result({ revoked: ids }, () => '');
};
