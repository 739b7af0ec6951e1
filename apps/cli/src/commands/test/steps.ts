import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { runTool } from '../../tool.ts';
import { runNodeTests } from './node-tests.ts';
import type { StepName } from './step-names.ts';
import { type StepOutcome, singleOutcome } from './step-outcome.ts';

const minuteMs = 60_000;

export interface StepContext {
  readonly checkout: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Processes killed by the chaos step. */
  readonly kills: number;
  readonly cpus: number;
}

type Step = (context: StepContext) => Promise<StepOutcome>;

/** A tool that passes when it exits with 0. */
const tool =
  (name: string, args: readonly string[], deadlineMs: number): Step =>
  async ({ checkout, env }) => {
    const result = await runTool({ args, cwd: checkout, env, deadlineMs });
    if (result.exitCode === 0) return singleOutcome(name, null);
    const reason = result.timedOut ? `Killed after ${deadlineMs / 1000} s.\n` : '';
    return singleOutcome(name, `${reason}${result.output.trim().slice(-8000)}`);
  };

const binary = (name: string): string => join('node_modules/.bin', name);

/** Unit tests share nothing; the others share the machine's two scarce things, CPU and memory, and so run one by one. */
const nodeTests =
  (name: string, patterns: readonly string[], deadlineMs: number, parallel: boolean): Step =>
  ({ checkout, env, cpus, kills }) =>
    runNodeTests({
      name,
      patterns,
      checkout,
      deadlineMs,
      concurrency: parallel ? Math.max(1, cpus) : 1,
      env: { ...env, HOLDFAST_CHAOS_KILLS: String(kills) },
    });

const flatNumbers = z.record(z.string(), z.number());

/** The benchmark runs with few samples; it must exit with 0 and print one flat object of numbers. */
const benchSmoke: Step = async ({ checkout, env }) => {
  const file = 'bench/sandbox.ts';
  if (!existsSync(join(checkout, file))) return singleOutcome('bench', `${file} is missing.`);
  let printed = '';
  const result = await runTool({
    args: [file, '--smoke', '--json'],
    cwd: checkout,
    env,
    deadlineMs: 10 * minuteMs,
    onLine: (line) => {
      printed = `${printed}${line}\n`.slice(-100_000);
    },
  });
  if (result.exitCode !== 0) return singleOutcome('bench', `${printed}${result.output}`.trim().slice(-8000));
  try {
    flatNumbers.parse(JSON.parse(printed));
    return singleOutcome('bench', null);
  } catch {
    return singleOutcome('bench', `It did not print one flat object of numbers, but:\n${printed.slice(0, 2000)}`);
  }
};

export const steps: Readonly<Record<StepName, Step>> = {
  biome: tool('biome', [binary('biome'), 'check', '--error-on-warnings', '.'], 5 * minuteMs),
  types: tool('types', [binary('tsc'), '-p', '.'], 5 * minuteMs),
  oxlint: tool('oxlint', [binary('oxlint'), '--type-aware', '--deny-warnings'], 5 * minuteMs),
  schema: tool('schema', ['packages/db/src/generate-schema.ts', '--check'], 5 * minuteMs),
  tidy: nodeTests('tidy', ['test/*.test.ts'], 5 * minuteMs, true),
  unit: nodeTests('unit', ['{packages,apps,guest,examples,bench}/**/*.test.ts'], 10 * minuteMs, true),
  integration: nodeTests('integration', ['test/integration/**/*.test.ts'], 15 * minuteMs, false),
  e2e: nodeTests('e2e', ['test/e2e/**/*.test.ts'], 30 * minuteMs, false),
  chaos: nodeTests('chaos', ['test/chaos/**/*.test.ts'], 60 * minuteMs, false),
  bench: benchSmoke,
};
