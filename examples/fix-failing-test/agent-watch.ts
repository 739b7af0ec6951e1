import type { Client, Sandbox } from '@holdfast/sdk';
import type { AgentEvent } from './agent.ts';
import { type Count, readCounter, waitForCount } from './counter.ts';
import type { Screen } from './screen.ts';
import type { OpenSpan } from './spans.ts';
import { type Standby, standBy, type TestCounts, testCounts } from './stages.ts';

const kibibytes = (bytes: number): string => `${Math.ceil(bytes / 1024).toLocaleString('en-US')} KiB`;

export interface HalfTime {
  readonly standby: Standby;
  /** From the agent's next tool call to its answer, resume included. */
  readonly resumeMs: number;
  readonly after: Count;
}

/** Shows what the agent does, and puts the sandbox in standby once, after the first test run that failed. */
export class AgentWatch {
  testsBefore: TestCounts | null = null;
  testsAfter: TestCounts | null = null;
  halfTime: HalfTime | null = null;
  #standby: Standby | null = null;
  #stopWaiting: () => void = () => undefined;
  readonly #o: { client: Client; sandbox: Sandbox; screen: Screen; span: OpenSpan };

  constructor(options: { client: Client; sandbox: Sandbox; screen: Screen; span: OpenSpan }) {
    this.#o = options;
  }

  begin(): void {
    this.#wait('the model answers');
  }

  end(): void {
    this.#stopWaiting();
    this.#stopWaiting = () => undefined;
  }

  async take(event: AgentEvent): Promise<void> {
    const { screen } = this.#o;
    this.end();
    if (event.type === 'said') screen.said(event.text);
    if (event.type === 'using') {
      this.#wait(`${event.call.name} ${event.call.subject}`);
      return;
    }
    if (event.type === 'used') await this.#used(event);
    this.begin();
  }

  #wait(title: string): void {
    this.end();
    this.#stopWaiting = this.#o.screen.waiting(title);
  }

  async #used({ call, output, ms }: Extract<AgentEvent, { type: 'used' }>): Promise<void> {
    const { screen } = this.#o;
    const tests = call.name === 'exec' ? testCounts(output) : null;
    const failed = output.startsWith('The tool failed: ');
    const result = tests === null ? '' : `   ${tests.passed} pass, ${tests.failed} fail`;
    const mark = failed || (tests?.failed ?? 0) > 0 ? ('red' as const) : ('dim' as const);
    const text = `${call.subject}${result}${failed ? `   ${output}` : ''}`;
    screen.line({ mark: '·', color: mark, label: call.name, text, ms, indent: 2 });
    if (tests !== null) {
      this.testsBefore ??= tests;
      this.testsAfter = tests;
    }
    if (this.#standby !== null && this.halfTime === null) await this.#resumed(this.#standby, ms);
    else if (this.#standby === null && (tests?.failed ?? 0) > 0) await this.#standBy();
  }

  async #standBy(): Promise<void> {
    const { client, sandbox, screen, span } = this.#o;
    const standby = await standBy(client, sandbox, span);
    this.#standby = standby;
    const stored = `no process, no memory, ${kibibytes(standby.storedBytes)} on disk`;
    const text = `${stored}; the counter stood at ${standby.before.value}`;
    screen.line({ mark: '◇', color: 'magenta', label: 'standby', text, ms: standby.ms });
  }

  async #resumed(standby: Standby, resumeMs: number): Promise<void> {
    const { sandbox, screen } = this.#o;
    const { before } = standby;
    const at = await readCounter(sandbox);
    if (at.pid !== before.pid || at.value < before.value) {
      const was = `process ${before.pid} at ${before.value}`;
      throw new Error(`The counter did not survive the standby: ${was}, then process ${at.pid} at ${at.value}.`);
    }
    const after = await waitForCount(sandbox, before.value);
    this.halfTime = { standby, resumeMs, after };
    const text = `by that tool call; the counter goes on, ${before.value} → ${after.value}, still process ${after.pid}`;
    screen.line({ mark: '◆', color: 'magenta', label: 'resumed', text });
  }
}
