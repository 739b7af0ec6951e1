/** Text of Prometheus' exposition format. https://prometheus.io/docs/instrumenting/exposition_formats */
export type Labels = Readonly<Record<string, string>>;

const escapeLabel = (text: string): string => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');

const labelText = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
};

export const sampleLine = (name: string, labels: Labels, value: number): string =>
  `${name}${labelText(labels)} ${value}`;

export const headLines = (name: string, type: 'counter' | 'gauge' | 'histogram', help: string): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];

/** Upper bounds in seconds: from what a cache takes to what a reasoning model does. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

/** Counts of durations by their size. */
export class Histogram {
  readonly #buckets = new Float64Array(bounds.length + 1);
  #sum = 0;
  #count = 0;

  add(seconds: number): void {
    let at = 0;
    while (at < bounds.length && seconds > (bounds[at] ?? 0)) at += 1;
    this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
    this.#sum += seconds;
    this.#count += 1;
  }

  lines(name: string, labels: Labels): string[] {
    let total = 0;
    const lines = bounds.map((bound, i) => {
      total += this.#buckets[i] ?? 0;
      return sampleLine(`${name}_bucket`, { ...labels, le: String(bound) }, total);
    });
    lines.push(sampleLine(`${name}_bucket`, { ...labels, le: '+Inf' }, this.#count));
    lines.push(sampleLine(`${name}_sum`, labels, this.#sum), sampleLine(`${name}_count`, labels, this.#count));
    return lines;
  }
}

/** A value for each combination of labels, of which there are at most `limit`; what is beyond goes under `other`. */
export class Family<T> {
  readonly #limit: number;
  readonly #make: () => T;
  readonly #names: readonly string[];
  readonly #series = new Map<string, { readonly labels: Labels; readonly value: T }>();

  constructor(names: readonly string[], limit: number, make: () => T) {
    this.#names = names;
    this.#limit = limit;
    this.#make = make;
  }

  /** `values` are those of the labels, in their order. */
  at(...values: readonly string[]): T {
    const known = this.#series.get(values.join('\0'));
    if (known !== undefined) return known.value;
    const kept = this.#series.size < this.#limit ? values : values.map(() => 'other');
    const key = kept.join('\0');
    const other = this.#series.get(key);
    if (other !== undefined) return other.value;
    const labels = Object.fromEntries(this.#names.map((name, i) => [name, kept[i] ?? '']));
    const value = this.#make();
    this.#series.set(key, { labels, value });
    return value;
  }

  *entries(): Generator<{ readonly labels: Labels; readonly value: T }> {
    yield* this.#series.values();
  }
}

/** A number that only grows. */
export class Counter {
  value = 0;
}

export const counterLines = (name: string, help: string, family: Family<Counter>): string[] => [
  ...headLines(name, 'counter', help),
  ...[...family.entries()].map(({ labels, value }) => sampleLine(name, labels, value.value)),
];

export const histogramLines = (name: string, help: string, family: Family<Histogram>): string[] => [
  ...headLines(name, 'histogram', help),
  ...[...family.entries()].flatMap(({ labels, value }) => value.lines(name, labels)),
];
