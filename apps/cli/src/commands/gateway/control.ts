import { formatCost } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatAge, formatTable } from '../../output.ts';

export const listCaps: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.listCaps(), ({ items }) =>
    formatTable(
      ['OF', 'ID', 'DOLLARS', 'TOKENS', 'CALLS', 'STEPS', 'REPEATED', 'UNCHANGED'],
      items.map((caps) => [
        ...[caps.subject, caps.subjectId, caps.maxMicroUsd === null ? null : formatCost(caps.maxMicroUsd)],
        ...[caps.maxTokens, caps.maxCalls, caps.maxSteps, caps.maxRepeatedCalls, caps.maxUnchangedInputs],
      ]),
    ),
  );
};

interface SubjectOptions {
  readonly agent?: string;
  readonly run?: string;
}

const subjectOf = ({ agent, run }: SubjectOptions) => {
  if (agent !== undefined && run !== undefined)
    throw new HoldfastError('cli.usage', 'Give --agent or --run, not both.');
  if (run !== undefined) return { subject: 'run', subjectId: run } as const;
  return agent === undefined ? ({ subject: 'workspace' } as const) : ({ subject: 'agent', subjectId: agent } as const);
};

interface CapsOptions extends SubjectOptions {
  readonly usd?: number;
  readonly tokens?: number;
  readonly calls?: number;
  readonly steps?: number;
  readonly repeated?: number;
  readonly unchanged?: number;
}

export const setCaps: Run<CapsOptions> = async (context, _args, options) => {
  const { usd, tokens, calls, steps, repeated, unchanged } = options;
  const caps = { maxMicroUsd: usd, maxTokens: tokens, maxCalls: calls, maxSteps: steps };
  const client = await connect(context);
  const set = await client.putCaps({
    body: { ...subjectOf(options), ...caps, maxRepeatedCalls: repeated, maxUnchangedInputs: unchanged },
  });
  context.output.result(set, ({ subject, subjectId }) => `Caps of ${subject} ${subjectId} are set.`);
};

export const removeCaps: Run<SubjectOptions> = async (context, _args, options) => {
  const client = await connect(context);
  const { subject, subjectId } = { subjectId: undefined, ...subjectOf(options) };
  const id = subjectId ?? (await client.whoami()).workspaceId;
  await client.removeCaps({ params: { subject, id } });
  context.output.result({ removed: { subject, id } }, () => `Caps of ${subject} ${id} are removed.`);
};

export const listRuns: Run<{ limit: number }> = async (context, _args, { limit }) => {
  const client = await connect(context);
  const now = context.now();
  context.output.result(await client.listRuns({ query: { limit } }), ({ items }) =>
    formatTable(
      ['RUN', 'AGENT', 'CALLS', 'STEPS', 'TOKENS', 'COST', 'HELD', 'ACTIVE'],
      items.map((run) => [
        ...[run.runId, run.agentId, run.calls, run.steps, run.tokens],
        ...[formatCost(run.microUsd), formatCost(run.heldMicroUsd), formatAge(run.updatedAt, now)],
      ]),
    ),
  );
};

export const setKill: Run<{ reason?: string }> = async (context, [subject = '', subjectId], { reason }) => {
  const kind = (['key', 'agent', 'run', 'workspace'] as const).find((one) => one === subject);
  if (kind === undefined || (kind !== 'workspace' && subjectId === undefined))
    throw new HoldfastError('cli.usage', `Which ${subject}? Give its id.`);
  const client = await connect(context);
  const kill = await client.setKill({ body: { subject: kind, subjectId, reason } });
  context.output.result(kill, ({ id, subjectId: stopped }) => `${id}: ${kind} ${stopped} is stopped.`);
};

export const listKills: Run<{ lifted?: boolean }> = async (context, _args, { lifted = false }) => {
  const client = await connect(context);
  const now = context.now();
  context.output.result(await client.listKills({ query: { lifted, limit: 1000 } }), ({ items }) =>
    formatTable(
      ['ID', 'STOPS', 'WHICH', 'REASON', 'SINCE', 'LIFTED'],
      items.map((kill) => [
        ...[kill.id, kill.subject, kill.subjectId, kill.reason, formatAge(kill.createdAt, now)],
        kill.liftedAt === null ? null : formatAge(kill.liftedAt, now),
      ]),
    ),
  );
};

export const liftKills: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.liftKill({ params: { id } });
  context.output.result({ lifted: ids }, () => ids.join('\n'));
};
