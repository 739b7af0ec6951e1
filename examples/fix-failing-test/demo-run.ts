import { type Client, formatCost, formatDuration, renderTraceTree, Sandbox, type Trace } from '@holdfast/sdk';
import { type AgentResult, runAgent } from './agent.ts';
import { AgentWatch, type HalfTime } from './agent-watch.ts';
import { startCounter, waitForCount } from './counter.ts';
import type { Screen } from './screen.ts';
import { type OpenSpan, SpanReporter } from './spans.ts';
import {
  chooseModel,
  type Fork,
  inspectFork,
  type ModelChoice,
  readDiff,
  readTrace,
  repositoryPath,
  type TestCounts,
  uploadRepository,
} from './stages.ts';
import { sandboxTools } from './tools.ts';

const forkCount = 3;
const task = 'Some tests of this repository fail (node test/run.js). Fix the bug.';

export interface DemoOptions {
  readonly client: Client;
  readonly apiKey: string;
  /** Overrides the choice of a model. */
  readonly model: string | null;
  readonly screen: Screen;
  /** Gets each sandbox as soon as it exists; the caller deletes them. */
  readonly onSandbox: (sandbox: Sandbox) => void;
}

/** What the demo found out, in milliseconds, bytes and millionths of a dollar. */
export interface DemoFigures {
  readonly sandboxId: string;
  readonly traceId: string;
  readonly model: string;
  /** The model's replies were recorded ones. */
  readonly recorded: boolean;
  readonly steps: number;
  readonly testsBefore: TestCounts;
  readonly testsAfter: TestCounts;
  readonly createMs: number;
  readonly standbyMs: number;
  readonly standbyBytes: number;
  readonly resumeMs: number;
  readonly forkMs: number;
  readonly counter: {
    readonly pid: number;
    readonly beforeStandby: number;
    readonly afterResume: number;
    readonly atEnd: number;
  };
  readonly forks: readonly Fork[];
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costMicroUsd: number;
  readonly diff: string;
  readonly totalMs: number;
}

interface Prepared {
  readonly sandbox: Sandbox;
  readonly createMs: number;
}

const done = { mark: '✓', color: 'green' } as const;

const prepare = async (o: DemoOptions, span: OpenSpan): Promise<Prepared> => {
  const { client, screen } = o;
  const traced = client.with({ traceparent: span.traceparent });
  const created = await screen.during('a sandbox is created (the first of all builds its template)', async () => {
    const sandbox = await Sandbox.create(traced, { labels: { example: 'fix-failing-test' } });
    o.onSandbox(sandbox);
    return sandbox;
  });
  const inside = created.value;
  screen.line({ ...done, label: 'sandbox', text: `${inside.idOrName}, a microVM of 512 MiB`, ms: created.ms });
  const commit = await screen.during('the repository is copied in', () => uploadRepository(inside));
  screen.line({ ...done, label: 'repository', text: `copied in and committed as ${commit.value}`, ms: commit.ms });
  const counter = await screen.during('the counter is started', () => startCounter(inside));
  const text = `a background process that counts, process ${counter.value}`;
  screen.line({ ...done, label: 'counter', text, ms: counter.ms });
  // From here on only what belongs to the agent's work is traced, not what the demo looks at.
  return { sandbox: inside.through(client), createMs: created.ms };
};

interface Work {
  readonly agent: AgentResult;
  readonly halfTime: HalfTime;
  readonly testsBefore: TestCounts;
  readonly testsAfter: TestCounts;
}

const letAgentWork = async (
  o: DemoOptions,
  sandbox: Sandbox,
  spans: SpanReporter,
  span: OpenSpan,
  { model, live }: ModelChoice,
): Promise<Work> => {
  const { client, screen, apiKey } = o;
  screen.heading('The agent', live ? `${model}, a live model` : 'replies of the model are recorded, all else is live');
  const watch = new AgentWatch({ client, sandbox, screen, span });
  watch.begin();
  const agent = await runAgent({
    baseURL: `${client.url.replace(/\/+$/, '')}/v1`,
    apiKey,
    model,
    task,
    tools: sandboxTools(client, sandbox, repositoryPath),
    spans,
    parent: span,
    onEvent: (event) => watch.take(event),
  }).finally(() => watch.end());
  const { halfTime, testsBefore, testsAfter } = watch;
  if (testsBefore === null || testsAfter === null) throw new Error('The agent never ran the tests.');
  if (testsAfter.failed > 0) throw new Error(`The agent gave up with ${testsAfter.failed} tests failing.`);
  if (halfTime === null) throw new Error('The sandbox never stood by: no test run failed before the last tool call.');
  return { agent, halfTime, testsBefore, testsAfter };
};

const forkInThree = async (
  o: DemoOptions,
  sandbox: Sandbox,
  span: OpenSpan,
): Promise<{ ms: number; forks: Fork[] }> => {
  const { client, screen } = o;
  screen.heading('Forked in three', 'memory, processes and disk, each with an identity of its own');
  const corrected = await sandbox.readText(`${repositoryPath}/src/interval.js`);
  const traced = sandbox.through(client.with({ traceparent: span.traceparent }));
  const { value: children, ms } = await screen.during('the sandbox is forked', async () => {
    const made = await traced.fork({ count: forkCount });
    for (const child of made) o.onSandbox(child);
    return made;
  });
  const looked = await screen.during('each fork is asked what it is', () =>
    Promise.all(children.map((child) => inspectFork(child.through(client), corrected))),
  );
  for (const { hostname, countAtFirst, countLater, hasFix } of looked.value) {
    const facts = `${hasFix ? 'has the fix' : 'LACKS THE FIX'}, counts ${countAtFirst} → ${countLater}`;
    screen.line({ ...done, label: 'fork', text: `${hostname}   ${facts}` });
  }
  if (looked.value.some(({ hasFix }) => !hasFix)) throw new Error('A fork lacks the fix.');
  const names = new Set(looked.value.map(({ hostname }) => hostname));
  if (names.size !== forkCount) throw new Error(`The forks share a hostname: ${[...names].join(', ')}.`);
  return { ms, forks: looked.value };
};

const showEnd = (screen: Screen, figures: DemoFigures, trace: Trace): void => {
  screen.heading('The change', `${figures.testsBefore.failed} failing tests before, none after`);
  screen.diff(figures.diff);
  screen.heading('The trace');
  screen.raw(renderTraceTree(trace, { width: screen.width, color: screen.color }));
  screen.heading('In figures');
  const { createMs, standbyMs, resumeMs, forkMs, inputTokens, outputTokens, costMicroUsd, recorded } = figures;
  const line = (label: string, text: string) => screen.line({ mark: ' ', color: 'dim', label, text });
  line('create', `${formatDuration(createMs)} from a template`);
  line('standby', `${formatDuration(standbyMs)} until nothing but files is left`);
  line('resume', `${formatDuration(resumeMs)} from the request to the content of a file`);
  line('fork', `${formatDuration(forkMs)} for ${forkCount}`);
  line('tokens', `${inputTokens.toLocaleString('en-US')} in, ${outputTokens.toLocaleString('en-US')} out`);
  line('cost', `${formatCost(costMicroUsd)}${recorded ? ' at the list price; recorded replies cost nothing' : ''}`);
  line('in all', formatDuration(figures.totalMs));
  screen.blank();
};

/** Runs the demo and shows it. Throws when anything it promises did not happen. */
export const runDemo = async (o: DemoOptions): Promise<DemoFigures> => {
  const begun = performance.now();
  const { client, screen } = o;
  const spans = new SpanReporter(client);
  const choice = await chooseModel(client, o.model);
  screen.heading('Holdfast', 'an agent fixes a failing test in a microVM that stands by between its steps');
  const place = { kind: 'run', name: 'demo: fix a failing test', parent: null } as const;
  const result = await spans
    .within(place, async (span) => {
      const { sandbox, createMs } = await prepare(o, span);
      const work = await letAgentWork(o, sandbox, spans, span, choice);
      const diff = await readDiff(sandbox);
      const { ms: forkMs, forks } = await forkInThree(o, sandbox, span);
      const end = await waitForCount(sandbox, work.halfTime.after.value);
      return { sandbox, createMs, work, diff, forkMs, forks, end };
    })
    .finally(() => spans.flush());
  const { work, end } = result;
  const { agent, halfTime, testsBefore, testsAfter } = work;
  const trace = await readTrace(client, spans.traceId, spans.reported + agent.steps);
  const figures: DemoFigures = {
    sandboxId: result.sandbox.idOrName,
    traceId: spans.traceId,
    model: choice.model,
    recorded: agent.recorded,
    steps: agent.steps,
    testsBefore,
    testsAfter,
    createMs: result.createMs,
    standbyMs: halfTime.standby.ms,
    standbyBytes: halfTime.standby.storedBytes,
    resumeMs: halfTime.resumeMs,
    forkMs: result.forkMs,
    counter: {
      pid: end.pid,
      beforeStandby: halfTime.standby.before.value,
      afterResume: halfTime.after.value,
      atEnd: end.value,
    },
    forks: result.forks,
    inputTokens: trace.inputTokens,
    outputTokens: trace.outputTokens,
    costMicroUsd: trace.costMicroUsd,
    diff: result.diff,
    totalMs: performance.now() - begun,
  };
  showEnd(screen, figures, trace);
  return figures;
};
