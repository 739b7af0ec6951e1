import type { Database } from '@holdfast/db';
import { CompiledQuery, sql } from 'kysely';
import type { SpanRow } from './span-row.ts';

const columns = [
  'workspace_id',
  'trace_id',
  'span_id',
  'parent_span_id',
  'kind',
  'name',
  'start_ms',
  'end_ms',
  'status',
  'status_message',
  'attributes',
  'input_tokens',
  'output_tokens',
  'cost_micro_usd',
] as const satisfies readonly (keyof SpanRow)[];

/** The statement takes one document of rows instead of a parameter for each value, which would cost several times as much. */
const insertion = (database: Database, document: string) => {
  const model = sql`kind = 'model'`;
  return database.kysely
    .with('added', (db) =>
      db
        .insertInto('spans')
        .columns(columns)
        .expression(
          sql<SpanRow>`select ${sql.join(columns.map((name) => sql.ref(name)))}
            from jsonb_populate_recordset(null::spans, ${document}::jsonb)`,
        )
        .onConflict((oc) => oc.columns(['workspace_id', 'trace_id', 'span_id']).doNothing())
        .returningAll(),
    )
    .insertInto('traces')
    .columns([
      'workspace_id',
      'trace_id',
      'name',
      'has_root',
      'start_ms',
      'end_ms',
      'span_count',
      'error_count',
      'input_tokens',
      'output_tokens',
      'cost_micro_usd',
    ])
    .expression((eb) =>
      eb
        .selectFrom('added')
        .select([
          'workspace_id',
          'trace_id',
          sql<string>`(array_agg(name order by parent_span_id is not null, start_ms, span_id))[1]`.as('name'),
          sql<boolean>`bool_or(parent_span_id is null)`.as('has_root'),
          sql<number>`min(start_ms)`.as('start_ms'),
          sql<number>`max(end_ms)`.as('end_ms'),
          sql<number>`count(*)`.as('span_count'),
          sql<number>`count(*) filter (where status = 'error')`.as('error_count'),
          sql<number>`coalesce(sum(input_tokens) filter (where ${model}), 0)::bigint`.as('input_tokens'),
          sql<number>`coalesce(sum(output_tokens) filter (where ${model}), 0)::bigint`.as('output_tokens'),
          sql<number>`coalesce(sum(cost_micro_usd) filter (where ${model}), 0)::bigint`.as('cost_micro_usd'),
        ])
        .groupBy(['workspace_id', 'trace_id'])
        // Two writers that lock traces in one order cannot deadlock.
        .orderBy('workspace_id')
        .orderBy('trace_id'),
    )
    .onConflict((oc) =>
      oc.columns(['workspace_id', 'trace_id']).doUpdateSet({
        name: sql`case when traces.has_root then traces.name
          when excluded.has_root or excluded.start_ms < traces.start_ms then excluded.name
          else traces.name end`,
        has_root: sql`traces.has_root or excluded.has_root`,
        start_ms: sql`least(traces.start_ms, excluded.start_ms)`,
        end_ms: sql`greatest(traces.end_ms, excluded.end_ms)`,
        span_count: sql`traces.span_count + excluded.span_count`,
        error_count: sql`traces.error_count + excluded.error_count`,
        input_tokens: sql`traces.input_tokens + excluded.input_tokens`,
        output_tokens: sql`traces.output_tokens + excluded.output_tokens`,
        cost_micro_usd: sql`traces.cost_micro_usd + excluded.cost_micro_usd`,
      }),
    );
};

/** Its text, which is the same every time: to compile it anew would cost as much as to run it. */
let text: string | null = null;

/**
 * Inserts spans, several rows a statement, and adds them to the sums of their traces in that same statement. A span
 * that is there already stays as it is and is not counted again, so a batch may safely be sent twice.
 */
export const insertSpans = async (database: Database, rows: readonly SpanRow[]): Promise<void> => {
  if (rows.length === 0) return;
  text ??= insertion(database, '[]').compile().sql;
  await database.kysely.executeQuery(CompiledQuery.raw(text, [JSON.stringify(rows)]));
};
