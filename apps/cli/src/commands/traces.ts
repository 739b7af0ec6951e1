import { formatCost, formatDuration, renderTraceTree } from '@holdfast/contract';
import type { Run } from '../command.ts';
import { connect } from '../context.ts';
import { formatAge, formatTable } from '../output.ts';

export const listTraces: Run<{ limit: number }> = async (context, _args, { limit }) => {
  const client = await connect(context);
  const page = await client.listTraces({ query: { limit } });
  const now = context.now();
  context.output.result(page, ({ items }) =>
    formatTable(
      ['ID', 'NAME', 'AGE', 'TIME', 'SPANS', 'TOKENS', 'COST', 'FAILED'],
      items.map((t) => [
        t.id,
        t.name,
        formatAge(new Date(t.startMs).toISOString(), now),
        formatDuration(t.durationMs),
        t.spanCount,
        (t.inputTokens ?? 0) + (t.outputTokens ?? 0),
        formatCost(t.costMicroUsd ?? 0),
        t.errorCount,
      ]),
    ),
  );
};

export const showTrace: Run<object> = async (context, [id = '']) => {
  const client = await connect(context);
  const trace = await client.getTrace({ params: { id } });
  const { columns: width, colorful: color } = context.output;
  context.output.result(trace, () => renderTraceTree(trace, { width, color }));
};
