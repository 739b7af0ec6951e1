import { Samples } from '../measure/samples.ts';
import { load, type Shot } from './load.ts';
import type { Subject } from './subjects.ts';

export type Figures = Record<string, number>;

type Scenario = 'plain' | '100k' | 'stream' | 'translated' | 'translated_back' | 'anthropic';

/** How much of everything: rounds over all subjects, and requests in each. */
export interface Effort {
  readonly rounds: number;
  readonly requests: number;
  readonly streams: number;
  readonly latencies: number;
}

export const fullEffort: Effort = { rounds: 8, requests: 2_000, streams: 200, latencies: 400 };
export const smokeEffort: Effort = { rounds: 1, requests: 60, streams: 6, latencies: 20 };

const concurrency = 16;

const text = (bytes: number): string => 'Tell me more. '.repeat(Math.ceil(bytes / 14)).slice(0, bytes);

/** A conversation whose body is about so long. */
const chatBody = (model: string, bytes: number, stream: boolean): string =>
  JSON.stringify({
    model,
    messages: [
      { role: 'system', content: 'You are brief.' },
      { role: 'user', content: text(bytes - 200) },
    ],
    max_tokens: 256,
    temperature: 0.5,
    ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  });

const messagesBody = (model: string): string =>
  JSON.stringify({
    model,
    max_tokens: 256,
    system: 'You are brief.',
    messages: [{ role: 'user', content: text(800) }],
  });

const shotOf = ({ headers, models }: Subject, scenario: Scenario): Shot => {
  const chat = { path: '/v1/chat/completions', headers };
  const messages = { path: '/v1/messages', headers: { ...headers, 'anthropic-version': '2023-06-01' } };
  switch (scenario) {
    case 'plain':
      return { ...chat, body: chatBody(models.openai, 1_000, false) };
    case '100k':
      return { ...chat, body: chatBody(models.openai, 100_000, false) };
    case 'stream':
      return { ...chat, body: chatBody(models.openai, 1_000, true) };
    case 'translated':
      return { ...chat, body: chatBody(models.anthropic, 1_000, false) };
    case 'translated_back':
      return { ...messages, body: messagesBody(models.openai) };
    case 'anthropic':
      return { ...messages, body: messagesBody(models.anthropic) };
  }
};

const suffix: Readonly<Record<Scenario, string>> = {
  plain: '',
  '100k': '_100k',
  stream: '_stream',
  translated: '_translated',
  translated_back: '_translated_back',
  anthropic: '_anthropic',
};

/** What one subject did in one scenario, over all rounds. */
class Tally {
  readonly #cpuUs: number[] = [];
  readonly #databaseUs: number[] = [];
  readonly #rates: number[] = [];
  errors = 0;

  add(requests: number, seconds: number, runNs: number, databaseNs: number, errors: number): void {
    this.#cpuUs.push(runNs / 1_000 / requests);
    this.#databaseUs.push(databaseNs / 1_000 / requests);
    this.#rates.push(requests / seconds);
    this.errors += errors;
  }

  get cpuUs(): number {
    return median(this.#cpuUs);
  }

  get databaseUs(): number {
    return median(this.#databaseUs);
  }

  get perSecond(): number {
    return median(this.#rates);
  }
}

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const scenariosOf = ({ name }: Subject): readonly Scenario[] =>
  name === 'holdfast'
    ? ['plain', '100k', 'stream', 'translated', 'translated_back', 'anthropic']
    : ['plain', '100k', 'stream'];

/** Measures everything, subject after subject in each round, so that what disturbs the machine disturbs all alike. */
export class Measurement {
  readonly #subjects: readonly Subject[];
  readonly #effort: Effort;
  readonly #tallies = new Map<string, Tally>();
  readonly #latencies = new Map<string, Samples>();

  constructor(subjects: readonly Subject[], effort: Effort) {
    this.#subjects = subjects;
    this.#effort = effort;
  }

  async run(say: (text: string) => void): Promise<Figures> {
    say('warming up');
    for (const subject of this.#subjects)
      for (const scenario of scenariosOf(subject)) await this.#once(subject, scenario, 0.5);
    this.#tallies.clear();
    for (let round = 1; round <= this.#effort.rounds; round += 1) {
      say(`round ${round} of ${this.#effort.rounds}`);
      for (const subject of this.#subjects) {
        for (const scenario of scenariosOf(subject)) await this.#once(subject, scenario, 1);
        await this.#latency(subject, 'plain');
        await this.#latency(subject, 'stream');
      }
    }
    return this.#figures();
  }

  async #once(subject: Subject, scenario: Scenario, share: number): Promise<void> {
    const count = Math.ceil((scenario === 'stream' ? this.#effort.streams : this.#effort.requests) * share);
    const [before, databaseBefore] = [subject.runNs(), subject.databaseRunNs()];
    const { errors, seconds } = await load(subject.origin, shotOf(subject, scenario), count, concurrency);
    const key = `${subject.name}${suffix[scenario]}`;
    const tally = this.#tallies.get(key) ?? new Tally();
    tally.add(count, seconds, subject.runNs() - before, subject.databaseRunNs() - databaseBefore, errors);
    this.#tallies.set(key, tally);
  }

  /** One request at a time: what the way to the provider adds, and no waiting for others. */
  async #latency(subject: Subject, scenario: Scenario): Promise<void> {
    const count = scenario === 'stream' ? Math.ceil(this.#effort.latencies / 10) : this.#effort.latencies;
    const { times } = await load(subject.origin, shotOf(subject, scenario), count, 1);
    const key = `${subject.name}${suffix[scenario]}`;
    const all = this.#latencies.get(key) ?? new Samples();
    for (const value of times.values) all.add(value);
    this.#latencies.set(key, all);
  }

  #figures(): Figures {
    const found: Figures = {};
    for (const [key, tally] of this.#tallies) {
      if (!key.startsWith('direct')) found[`${key}_cpu_us`] = tally.cpuUs;
      if (key.startsWith('holdfast'))
        found[`${key.replace('holdfast', 'holdfast_database')}_cpu_us`] = tally.databaseUs;
      found[`${key}_rps`] = tally.perSecond;
      found[`${key}_errors`] = tally.errors;
    }
    for (const [key, times] of this.#latencies) {
      const without = this.#latencies.get(key.replace(/^[a-z]+/, 'direct'));
      if (without === undefined || without === times) {
        found[`${key}_p50_us`] = times.p50 * 1_000;
        found[`${key}_p99_us`] = times.p99 * 1_000;
      } else {
        found[`${key}_added_p50_us`] = (times.p50 - without.p50) * 1_000;
        found[`${key}_added_p99_us`] = (times.p99 - without.p99) * 1_000;
      }
    }
    for (const subject of this.#subjects)
      if (subject.name !== 'direct') found[`${subject.name}_memory_bytes`] = subject.residentBytes();
    return { ...found, ...this.#ratios(found) };
  }

  #ratios(found: Figures): Figures {
    const of = (key: string): number => found[key] ?? Number.NaN;
    const beyond = of('holdfast_translated_cpu_us') - of('holdfast_cpu_us');
    const back = of('holdfast_translated_back_cpu_us') - of('holdfast_anthropic_cpu_us');
    return {
      translate_cpu_us: Math.max(beyond, back),
      translate_to_anthropic_cpu_us: beyond,
      translate_to_openai_cpu_us: back,
      holdfast_to_floor: of('holdfast_cpu_us') / of('floor_cpu_us'),
      holdfast_to_peer: of('holdfast_cpu_us') / of('peer_cpu_us'),
      holdfast_100k_to_floor: of('holdfast_100k_cpu_us') / of('floor_100k_cpu_us'),
      holdfast_stream_to_floor: of('holdfast_stream_cpu_us') / of('floor_stream_cpu_us'),
      holdfast_stream_to_peer: of('holdfast_stream_cpu_us') / of('peer_stream_cpu_us'),
    };
  }
}
