import type { Agent, ApiKey, KeyRole } from '@holdfast/contract';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatAge, formatTable } from '../../output.ts';

const mostListed = 10_000;

/** All pages of a list. */
const allPages = async <T>(
  read: (cursor: string | undefined) => Promise<{ readonly items: readonly T[]; readonly cursor: string | null }>,
): Promise<T[]> => {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    items.push(...page.items);
    cursor = page.cursor ?? undefined;
  } while (cursor !== undefined && items.length < mostListed);
  return items;
};

const bondsOf = (key: ApiKey): string =>
  [
    ['team', key.teamId],
    ['user', key.userId],
    ['agent', key.agentId],
    ['run', key.runId],
  ]
    .flatMap(([what, id]) => (id === null ? [] : [`${what} ${id}`]))
    .join(', ');

const stateOf = (key: ApiKey, now: number): string => {
  if (key.revokedAt !== null) return 'revoked';
  if (key.expiresAt === null) return 'works';
  return Date.parse(key.expiresAt) <= now ? 'expired' : `until ${key.expiresAt}`;
};

export const listVirtualKeys: Run<object> = async (context) => {
  const client = await connect(context);
  const items = await allPages((cursor) => client.listKeys({ query: { limit: 1000, cursor } }));
  const now = context.now();
  context.output.result({ items }, () =>
    formatTable(
      ['ID', 'NAME', 'ROLE', 'BOUND TO', 'MODELS', 'STATE', 'LAST USED'],
      items.map((key) => [
        ...[key.id, key.name, key.role, bondsOf(key)],
        ...[key.modelRoutes?.join(', ') ?? 'any', stateOf(key, now)],
        key.lastUsedAt === null ? null : formatAge(key.lastUsedAt, now),
      ]),
    ),
  );
};

interface KeyOptions {
  readonly name: string;
  readonly role: KeyRole;
  readonly user?: string;
  readonly team?: string;
  readonly agent?: string;
  readonly run?: string;
  readonly model?: readonly string[];
  readonly expires?: number;
}

export const createVirtualKey: Run<KeyOptions> = async (context, _args, options) => {
  const { name, role, user, team, agent, run: runId, model, expires } = options;
  const client = await connect(context);
  const expiresAt = expires === undefined ? undefined : new Date(context.now() + expires).toISOString();
  const modelRoutes = model === undefined ? undefined : [...model];
  const created = await client.createKey({ body: { name, role, user, team, agent, runId, modelRoutes, expiresAt } });
  context.output.note(`Created ${created.id} (${role}). Keep this text, it is not shown again:`);
  context.output.result(created, ({ key }) => key);
};

export const listTeams: Run<object> = async (context) => {
  const client = await connect(context);
  const now = context.now();
  context.output.result(await client.listTeams(), ({ items }) =>
    formatTable(
      ['ID', 'NAME', 'AGE'],
      items.map((team) => [team.id, team.name, formatAge(team.createdAt, now)]),
    ),
  );
};

export const createTeam: Run<object> = async (context, [name = '']) => {
  const client = await connect(context);
  context.output.result(await client.createTeam({ body: { name } }), (team) => team.id);
};

export const removeTeams: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.removeTeam({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};

export const listAgents: Run<object> = async (context) => {
  const client = await connect(context);
  const items: Agent[] = await allPages((cursor) => client.listAgents({ query: { limit: 1000, cursor } }));
  const now = context.now();
  context.output.result({ items }, () =>
    formatTable(
      ['ID', 'NAME', 'TEAM', 'AGE'],
      items.map((agent) => [agent.id, agent.name, agent.teamId, formatAge(agent.createdAt, now)]),
    ),
  );
};

export const createAgent: Run<{ team?: string }> = async (context, [name = ''], { team }) => {
  const client = await connect(context);
  context.output.result(await client.createAgent({ body: { name, team } }), (agent) => agent.id);
};

export const removeAgents: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.removeAgent({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};
