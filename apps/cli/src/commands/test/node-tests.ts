import { globSync } from 'node:fs';
import { join, relative } from 'node:path';
import { z } from 'zod';
import { runTool } from '../../tool.ts';
import type { Failure, StepOutcome } from './step-outcome.ts';
import { singleOutcome } from './step-outcome.ts';

const shownOutputLines = 40;
const maxRemarks = 50;

const reported = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('fail'), name: z.string(), at: z.string().nullable(), message: z.string() }),
  z.object({ kind: z.literal('output'), text: z.string() }),
  z.object({ kind: z.literal('remark'), text: z.string() }),
  z.object({ kind: z.literal('summary'), passed: z.number(), failed: z.number(), skipped: z.number() }),
]);

export interface NodeTests {
  readonly name: string;
  readonly checkout: string;
  /** Relative to the checkout. */
  readonly patterns: readonly string[];
  /** Files that run at the same time. */
  readonly concurrency: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly deadlineMs: number;
}

/** The runner's own closing diagnostics. */
const ownRemark = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;
/** What a test prints so that a random run can be repeated. */
const seedLine = /^.*\bseed\b.*$/gim;

const parseLine = (line: string) => {
  try {
    return reported.parse(JSON.parse(line));
  } catch {
    return { kind: 'output', text: `${line}\n` } as const;
  }
};

/** Runs the test files that match with node's own test runner. No file at all is a failure. */
export const runNodeTests = async (tests: NodeTests): Promise<StepOutcome> => {
  const { checkout, name } = tests;
  const files = globSync([...tests.patterns], {
    cwd: checkout,
    exclude: (path) => path.includes('node_modules'),
  }).sort();
  if (files.length === 0) return singleOutcome(name, `No test file matches ${tests.patterns.join(' ')}.`);

  const failures: Failure[] = [];
  const remarks: string[] = [];
  let printed = '';
  let summary: { passed: number; failed: number; skipped: number } | null = null;
  const result = await runTool({
    cwd: checkout,
    env: tests.env,
    deadlineMs: tests.deadlineMs,
    args: [
      '--test',
      `--test-concurrency=${tests.concurrency}`,
      `--test-reporter=${join(import.meta.dirname, 'reporter.ts')}`,
      '--test-reporter-destination=stdout',
      ...files,
    ],
    onLine: (line) => {
      const event = parseLine(line);
      if (event.kind === 'fail') {
        const at = event.at === null ? null : relative(checkout, event.at);
        failures.push({ at, name: event.name, message: event.message });
      } else if (event.kind === 'summary') summary = event;
      else if (event.kind === 'remark' && !ownRemark.test(event.text)) remarks.push(event.text);
      else if (event.kind === 'output') {
        printed = (printed + event.text).slice(-100_000);
        remarks.push(...(event.text.match(seedLine) ?? []));
      }
      remarks.splice(maxRemarks);
    },
  });
  const tail = `${printed}${result.output}`.trimEnd().split('\n').slice(-shownOutputLines).join('\n');
  if (failures.length > 0 && tail !== '') failures.push({ at: null, name: 'what the tests printed', message: tail });
  return closed(tests, { summary, failures, remarks, tail, ...result });
};

interface Collected {
  readonly summary: { readonly passed: number; readonly failed: number; readonly skipped: number } | null;
  readonly failures: readonly Failure[];
  readonly remarks: readonly string[];
  readonly tail: string;
  readonly exitCode: number | null;
  readonly timedOut: boolean;
}

/** A runner that was killed, or that failed without a failing test, is one more failure. */
const closed = (tests: NodeTests, c: Collected): StepOutcome => {
  const { passed, failed, skipped } = c.summary ?? { passed: 0, failed: 0, skipped: 0 };
  const bare = { passed, failed, skipped, failures: c.failures, remarks: c.remarks };
  const broken =
    c.timedOut || c.summary === null || (c.exitCode !== 0 && failed === 0)
      ? c.timedOut
        ? `Killed after ${tests.deadlineMs / 1000} s.`
        : `The test runner ended with ${c.exitCode ?? 'a signal'} without saying what failed.`
      : passed + failed === 0
        ? 'The files hold no test that ran.'
        : null;
  if (broken === null) return bare;
  const failure = { at: null, name: tests.name, message: `${broken}\n${c.tail}` };
  return { ...bare, failed: failed + 1, failures: [...c.failures, failure] };
};
