import { formatCost, type GatewayBudget, type UsageGroup, usageGroups } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { Run } from '../../command.ts';
import { connect } from '../../context.ts';
import { formatAge, formatTable } from '../../output.ts';

const amountText = (unit: GatewayBudget['unit'], amount: number): string =>
  unit === 'micro_usd' ? formatCost(amount) : `${amount} ${unit}`;

export const listBudgets: Run<object> = async (context) => {
  const client = await connect(context);
  const page = await client.listBudgets({ query: { limit: 1000 } });
  context.output.result(page, ({ items }) =>
    formatTable(
      ['ID', 'WHOSE', 'AMOUNT', 'PERIOD', 'KIND', 'SPENT', 'HELD', 'FULL'],
      items.flatMap((budget) => {
        const whose = budget.scope === 'workspace' ? 'workspace' : `${budget.scope} ${budget.subjectId ?? '(each)'}`;
        const kind = budget.hard ? 'hard' : 'soft';
        const own = [amountText(budget.unit, budget.amount), budget.period, kind];
        if (budget.uses.length === 0) return [[budget.id, whose, ...own, null, null, null]];
        return budget.uses
          .slice(0, 20)
          .map((use) => [
            ...[budget.id, use.subjectId === null ? whose : `${budget.scope} ${use.subjectId}`, ...own],
            ...[amountText(budget.unit, use.spent), amountText(budget.unit, use.reserved)],
            `${Math.floor((use.spent / budget.amount) * 100)} %`,
          ]);
      }),
    ),
  );
};

interface AmountOptions {
  readonly usd?: number;
  readonly requests?: number;
  readonly tokens?: number;
  readonly threshold?: readonly string[];
}

interface Amount {
  readonly unit: GatewayBudget['unit'];
  readonly amount: number;
}

/** Null when none is given; two would be two budgets. */
const amountOf = ({ usd, requests, tokens }: AmountOptions): Amount | null => {
  const given: Amount[] = [];
  if (usd !== undefined) given.push({ unit: 'micro_usd', amount: usd });
  if (requests !== undefined) given.push({ unit: 'requests', amount: requests });
  if (tokens !== undefined) given.push({ unit: 'tokens', amount: tokens });
  if (given.length > 1) throw new HoldfastError('cli.usage', 'Give only one of --usd, --requests and --tokens.');
  return given[0] ?? null;
};

const thresholdsOf = ({ threshold }: AmountOptions): number[] | undefined =>
  threshold?.map((text) => {
    const percent = Number(text.replace(/%$/, ''));
    if (!Number.isInteger(percent)) throw new HoldfastError('cli.usage', `--threshold ${text} is not a percentage.`);
    return percent;
  });

interface BudgetOptions extends AmountOptions {
  readonly period: GatewayBudget['period'];
  readonly scope: GatewayBudget['scope'];
  readonly subject?: string;
  readonly endpoint?: string;
  readonly timeZone?: string;
  readonly soft?: boolean;
}

const describe = (budget: GatewayBudget): string =>
  `${budget.id}: ${amountText(budget.unit, budget.amount)}, ${budget.period}, ${budget.scope} ${budget.subjectId ?? ''}`.trim();

export const createBudget: Run<BudgetOptions> = async (context, _args, options) => {
  const amount = amountOf(options);
  if (amount === null) throw new HoldfastError('cli.usage', 'Give one of --usd, --requests and --tokens.');
  const { period, scope, subject: subjectId, endpoint, timeZone, soft } = options;
  const client = await connect(context);
  const made = await client.createBudget({
    body: {
      ...amount,
      period,
      scope,
      subjectId,
      endpoint,
      timeZone,
      hard: soft !== true,
      thresholds: thresholdsOf(options),
    },
  });
  context.output.result(made, describe);
};

export const changeBudget: Run<AmountOptions & { soft?: boolean; hard?: boolean }> = async (
  context,
  [id = ''],
  options,
) => {
  const hard = options.hard === true ? true : options.soft === true ? false : undefined;
  const client = await connect(context);
  const body = { amount: amountOf(options)?.amount, thresholds: thresholdsOf(options), hard };
  context.output.result(await client.changeBudget({ params: { id }, body }), describe);
};

export const removeBudgets: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.removeBudget({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};

interface UsageOptions {
  readonly by?: readonly string[];
  readonly since?: number;
  readonly timeZone?: string;
  readonly limit: number;
}

const isGroup = (text: string): text is UsageGroup => usageGroups.some((group) => group === text);

export const showUsage: Run<UsageOptions> = async (context, _args, { by = ['model'], since, timeZone, limit }) => {
  const groups = by.filter(isGroup);
  if (groups.length !== by.length) throw new HoldfastError('cli.usage', `--by takes ${usageGroups.join(', ')}.`);
  const from = since === undefined ? undefined : new Date(context.now() - since).toISOString();
  const client = await connect(context);
  const usage = await client.gatewayUsage({ query: { by: groups, since: from, timeZone, limit } });
  context.output.result(usage, ({ items }) =>
    formatTable(
      [...groups.map((group) => group.toUpperCase()), 'CALLS', 'FAILED', 'CACHED', 'INPUT', 'OUTPUT', 'COST'],
      items.map((row) => [
        ...groups.map((group) => row.group[group] ?? null),
        ...[row.calls, row.failed, row.cached],
        row.inputTokens + row.cacheReadTokens + row.cacheWriteTokens,
        row.outputTokens,
        row.unpriced > 0 ? `${formatCost(row.costMicroUsd)} + unpriced` : formatCost(row.costMicroUsd),
      ]),
    ),
  );
};

export const listAttempts: Run<{ run?: string; limit: number }> = async (context, _args, { run, limit }) => {
  const client = await connect(context);
  const page = await client.listAttempts({ query: { run, limit } });
  const now = context.now();
  context.output.result(page, ({ items }) =>
    formatTable(
      ['AGE', 'ASKED FOR', 'ANSWERED BY', 'RESULT', 'INPUT', 'OUTPUT', 'COST', 'TIME'],
      items.map((row) => [
        ...[formatAge(row.at, now), row.requestedModel, `${row.provider}/${row.model}`],
        row.error ?? (row.cache === null ? 'ok' : `cache ${row.cache}`),
        ...[row.inputTokens, row.outputTokens],
        row.costMicroUsd === null ? null : formatCost(row.costMicroUsd),
        `${Math.round(row.latencyMs)} ms`,
      ]),
    ),
  );
};

export const listPrices: Run<object> = async (context) => {
  const client = await connect(context);
  context.output.result(await client.listPrices(), ({ items }) =>
    formatTable(
      ['ID', 'PROVIDER', 'MODEL', 'FROM', 'MICRO-DOLLARS FOR A MILLION TOKENS'],
      items.map((price) => [price.id, price.provider, price.model, price.effectiveFrom, JSON.stringify(price.rates)]),
    ),
  );
};

interface PriceOptions {
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number;
  readonly context?: number;
}

export const setPrice: Run<PriceOptions> = async (context, [provider = '', model = ''], options) => {
  const { input, output, cacheRead, context: contextTokens } = options;
  const rates = { input, output, ...(cacheRead === undefined ? {} : { cacheRead }) };
  const client = await connect(context);
  const made = await client.createPrice({ body: { provider, model, rates, contextTokens } });
  context.output.result(made, (price) => `${price.id}: ${price.provider} ${price.model}`);
};

export const removePrices: Run<object> = async (context, ids) => {
  const client = await connect(context);
  for (const id of ids) await client.removePrice({ params: { id } });
  context.output.result({ removed: ids }, () => ids.join('\n'));
};
