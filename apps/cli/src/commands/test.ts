import { availableParallelism } from 'node:os';
import type { Run } from '../command.ts';
import { checkout } from '../configuration.ts';
import type { Context } from '../context.ts';
import { type StepName, stepNames } from './test/step-names.ts';
import type { StepOutcome } from './test/step-outcome.ts';
import { type StepContext, steps } from './test/steps.ts';

/** Kills of the chaos step: enough to notice a broken guarantee, and with --all enough to trust it. */
const kills = { usual: 40, all: 200 } as const;

/** What points at a real server, database or model provider must not reach the tests. */
const hidden = [
  'HOLDFAST_URL',
  'HOLDFAST_API_KEY',
  'HOLDFAST_PORT',
  'HOLDFAST_DEBUG',
  'DATABASE_URL',
  'OPENAI_API_KEY',
  'OPENAI_BASE_URL',
  'OPENAI_MODEL',
  'NODE_OPTIONS',
  'NODE_TEST_CONTEXT',
];

interface StepReport extends StepOutcome {
  readonly name: StepName;
  readonly durationMs: number;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const reportText = (report: StepReport): string => {
  const ok = report.failed === 0;
  const counts = `${report.passed} passed${ok ? '' : `, ${report.failed} failed`}`;
  const lines = [`${ok ? 'ok    ' : 'FAILED'} ${report.name.padEnd(12)} ${counts} (${seconds(report.durationMs)})`];
  for (const remark of report.remarks) lines.push(`       ${remark}`);
  for (const { at, name, message } of report.failures) {
    lines.push('', `  ${name}${at === null ? '' : `  (${at})`}`, ...message.split('\n').map((line) => `    ${line}`));
  }
  return lines.join('\n');
};

const runStep = async (name: StepName, step: StepContext, { output }: Context): Promise<StepReport> => {
  const begun = performance.now();
  if (output.stderr.isTTY !== true) output.note(`start  ${name}`);
  const outcome = await output.during(name, () => steps[name](step));
  return { name, durationMs: Math.round(performance.now() - begun), ...outcome };
};

export const test: Run<{ all?: boolean; only?: readonly StepName[] }> = async (context, _args, options) => {
  const { output, configuration } = context;
  const wanted = options.only === undefined ? stepNames : stepNames.filter((name) => options.only?.includes(name));
  const env: Record<string, string | undefined> = { ...configuration.inherited, HOLDFAST_HOME: configuration.home };
  for (const name of hidden) delete env[name];
  const step: StepContext = {
    checkout,
    env,
    kills: options.all === true ? kills.all : kills.usual,
    cpus: availableParallelism(),
  };
  const reports: StepReport[] = [];
  for (const name of wanted) {
    const report = await runStep(name, step, context);
    reports.push(report);
    if (!output.json) output.stdout.write(`${reportText(report)}\n`);
  }
  const sum = (key: 'passed' | 'failed' | 'skipped') => reports.reduce((total, report) => total + report[key], 0);
  const totals = { passed: sum('passed'), failed: sum('failed'), skipped: sum('skipped') };
  const skipped = totals.skipped === 0 ? '' : `, ${totals.skipped} skipped`;
  output.result({ ...totals, steps: reports }, () => `\n${totals.passed} passed, ${totals.failed} failed${skipped}`);
  return totals.failed === 0 ? 0 : 1;
};
