/** Upper bounds in seconds. From half a millisecond, as most answers come from memory, to minutes, as agents wait. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

interface Series {
  readonly method: string;
  readonly route: string;
  readonly statuses: Map<number, number>;
  /** One more than bounds: the rest. */
  readonly buckets: number[];
  sum: number;
  count: number;
}

/** Values that somebody else keeps, read when metrics are asked for: metric → label value → value. */
export type Gauges = () => Promise<
  {
    readonly name: string;
    readonly help: string;
    readonly label: string;
    readonly values: Readonly<Record<string, number>>;
  }[]
>;

const escapeLabel = (text: string): string => text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');

/** Counters of the HTTP server in Prometheus' text format. Series are bounded by the number of routes. */
export class Metrics {
  readonly #series = new Map<string, Series>();
  #inFlight = 0;

  begin(): void {
    this.#inFlight += 1;
  }

  /** `route` is the template, never the path, so that ids do not become series. */
  end(method: string, route: string, status: number, ms: number): void {
    this.#inFlight -= 1;
    const series = this.#seriesOf(method, route);
    const seconds = ms / 1000;
    const bucket = bounds.findIndex((bound) => seconds <= bound);
    const index = bucket === -1 ? bounds.length : bucket;
    series.buckets[index] = (series.buckets[index] ?? 0) + 1;
    series.sum += seconds;
    series.count += 1;
    series.statuses.set(status, (series.statuses.get(status) ?? 0) + 1);
  }

  async render(gauges: Gauges): Promise<string> {
    const lines = [
      '# HELP holdfast_http_requests_total Requests answered.',
      '# TYPE holdfast_http_requests_total counter',
    ];
    for (const series of this.#series.values())
      for (const [status, count] of series.statuses)
        lines.push(`holdfast_http_requests_total{${labelsOf(series)},status="${status}"} ${count}`);
    lines.push('# HELP holdfast_http_request_seconds Time to the end of the answer.');
    lines.push('# TYPE holdfast_http_request_seconds histogram');
    for (const series of this.#series.values()) lines.push(...histogramOf(series));
    lines.push('# HELP holdfast_http_in_flight Requests being answered.', '# TYPE holdfast_http_in_flight gauge');
    lines.push(`holdfast_http_in_flight ${this.#inFlight}`);
    lines.push('# HELP process_resident_memory_bytes Memory of the server.');
    lines.push('# TYPE process_resident_memory_bytes gauge');
    lines.push(`process_resident_memory_bytes ${process.memoryUsage.rss()}`);
    for (const gauge of await gauges()) {
      lines.push(`# HELP ${gauge.name} ${gauge.help}`, `# TYPE ${gauge.name} gauge`);
      for (const [value, count] of Object.entries(gauge.values))
        lines.push(`${gauge.name}{${gauge.label}="${escapeLabel(value)}"} ${count}`);
    }
    return `${lines.join('\n')}\n`;
  }

  #seriesOf(method: string, route: string): Series {
    const key = `${method} ${route}`;
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    const buckets = Array.from({ length: bounds.length + 1 }, () => 0);
    const made: Series = { method, route, statuses: new Map(), buckets, sum: 0, count: 0 };
    this.#series.set(key, made);
    return made;
  }
}

const labelsOf = ({ method, route }: Series): string => `method="${escapeLabel(method)}",route="${escapeLabel(route)}"`;

const histogramOf = (series: Series): string[] => {
  const labels = labelsOf(series);
  let total = 0;
  const lines = bounds.map((bound, index) => {
    total += series.buckets[index] ?? 0;
    return `holdfast_http_request_seconds_bucket{${labels},le="${bound}"} ${total}`;
  });
  lines.push(`holdfast_http_request_seconds_bucket{${labels},le="+Inf"} ${series.count}`);
  lines.push(`holdfast_http_request_seconds_sum{${labels}} ${series.sum}`);
  lines.push(`holdfast_http_request_seconds_count{${labels}} ${series.count}`);
  return lines;
};
