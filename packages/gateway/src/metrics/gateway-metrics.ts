import type { AttemptMetric, GatewayMetrics } from './metrics.ts';
import { Counter, counterLines, Family, Histogram, headLines, histogramLines, sampleLine } from './prometheus.ts';

/** Series of each kind that one workspace may have, since callers choose the names of models. */
const mostSeries = 500;
/** Workspaces that are counted apart. */
const mostWorkspaces = 10_000;

const counters = (...names: readonly string[]) => new Family(names, mostSeries, () => new Counter());
const histograms = (...names: readonly string[]) => new Family(names, mostSeries, () => new Histogram());

/** What one workspace does: names of its routes, providers and models are shown to nobody else. */
class WorkspaceSeries {
  readonly attempts = counters('endpoint', 'route', 'provider', 'model', 'outcome');
  readonly tokens = counters('provider', 'model', 'type');
  readonly cost = counters('provider', 'model');
  readonly latency = histograms('endpoint', 'provider');
  readonly firstToken = histograms('provider', 'model');
  readonly refused = counters('endpoint', 'code');
  readonly cache = counters('outcome');
}

/** The gateway's counters, in memory, since the start of the process. */
export class GatewayCounters implements GatewayMetrics {
  readonly #workspaces = new Map<string, WorkspaceSeries>();
  readonly #server = counters('endpoint', 'outcome');
  readonly #serverRefused = counters('endpoint', 'code');
  readonly #observe: (metric: AttemptMetric) => void;
  #inFlight = 0;

  /** `observe` sees each attempt as it is counted. */
  constructor(observe: (metric: AttemptMetric) => void = () => undefined) {
    this.#observe = observe;
  }

  attempt(metric: AttemptMetric): void {
    this.#observe(metric);
    const { endpoint, provider, model, outcome, usage } = metric;
    const series = this.#of(metric.workspaceId);
    series.attempts.at(endpoint, metric.route ?? '', provider, model, outcome).value += 1;
    this.#server.at(endpoint, outcome).value += 1;
    series.latency.at(endpoint, provider).add(metric.latencyMs / 1_000);
    if (metric.firstTokenMs !== null) series.firstToken.at(provider, model).add(metric.firstTokenMs / 1_000);
    if (metric.costMicroUsd !== null) series.cost.at(provider, model).value += metric.costMicroUsd;
    if (usage === null) return;
    const { tokens } = series;
    tokens.at(provider, model, 'input').value += usage.inputTokens;
    tokens.at(provider, model, 'output').value += usage.outputTokens;
    if (usage.cacheReadTokens > 0) tokens.at(provider, model, 'cache_read').value += usage.cacheReadTokens;
    const written = usage.cacheWrite5mTokens + usage.cacheWrite1hTokens;
    if (written > 0) tokens.at(provider, model, 'cache_write').value += written;
    if (usage.reasoningTokens > 0) tokens.at(provider, model, 'reasoning').value += usage.reasoningTokens;
  }

  refused(workspaceId: string, endpoint: string, code: string): void {
    this.#of(workspaceId).refused.at(endpoint, code).value += 1;
    this.#serverRefused.at(endpoint, code).value += 1;
  }

  cache(workspaceId: string, outcome: 'hit_exact' | 'hit_semantic' | 'miss' | 'replayed'): void {
    this.#of(workspaceId).cache.at(outcome).value += 1;
  }

  callBegins(): void {
    this.#inFlight += 1;
  }

  callEnds(): void {
    this.#inFlight -= 1;
  }

  render(workspaceId: string): string[] {
    const own = this.#workspaces.get(workspaceId) ?? new WorkspaceSeries();
    return [
      ...headLines('holdfast_gateway_calls_in_flight', 'gauge', 'Model calls under way, of all workspaces.'),
      sampleLine('holdfast_gateway_calls_in_flight', {}, this.#inFlight),
      ...counterLines('holdfast_gateway_server_attempts_total', 'Attempts of all workspaces.', this.#server),
      ...counterLines(
        'holdfast_gateway_server_refused_total',
        'Calls of all workspaces that were refused before any attempt.',
        this.#serverRefused,
      ),
      ...counterLines('holdfast_gateway_attempts_total', 'Attempts of this workspace.', own.attempts),
      ...counterLines('holdfast_gateway_refused_total', 'Calls that were refused before any attempt.', own.refused),
      ...counterLines('holdfast_gateway_tokens_total', 'Tokens by type; output includes reasoning.', own.tokens),
      ...counterLines('holdfast_gateway_cost_micro_usd_total', 'Cost in millionths of a US dollar.', own.cost),
      ...counterLines('holdfast_gateway_cache_total', 'Answers by what the cache did.', own.cache),
      ...histogramLines('holdfast_gateway_attempt_seconds', 'Time to the end of an attempt.', own.latency),
      ...histogramLines(
        'holdfast_gateway_first_token_seconds',
        'Time to the first content of an attempt.',
        own.firstToken,
      ),
    ];
  }

  #of(workspaceId: string): WorkspaceSeries {
    const known = this.#workspaces.get(workspaceId);
    if (known !== undefined) return known;
    for (const oldest of this.#workspaces.keys()) {
      if (this.#workspaces.size < mostWorkspaces) break;
      this.#workspaces.delete(oldest);
    }
    const made = new WorkspaceSeries();
    this.#workspaces.set(workspaceId, made);
    return made;
  }
}
