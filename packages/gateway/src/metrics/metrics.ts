import type { Usage } from '../formats/format.ts';

/** One finished attempt as metrics see it. */
export interface AttemptMetric {
  readonly workspaceId: string;
  readonly endpoint: string;
  readonly route: string | null;
  readonly provider: string;
  readonly model: string;
  /** `ok`, or the class of what went wrong. */
  readonly outcome: string;
  readonly usage: Usage | null;
  readonly costMicroUsd: number | null;
  readonly latencyMs: number;
  readonly firstTokenMs: number | null;
  /** For whoever watches calls as they end; not counted by. */
  readonly keyId?: string;
  readonly agentId?: string | null;
  readonly runId?: string | null;
  readonly traceId?: string;
}

/** What the gateway counts for Prometheus. All of it is synchronous and bounded. */
export interface GatewayMetrics {
  attempt(metric: AttemptMetric): void;
  /** A call that was refused before any attempt, by the code of its error. */
  refused(workspaceId: string, endpoint: string, code: string): void;
  /** `hit_exact`, `hit_semantic`, `miss`, `replayed` (idempotency). */
  cache(workspaceId: string, outcome: 'hit_exact' | 'hit_semantic' | 'miss' | 'replayed'): void;
  callBegins(): void;
  callEnds(): void;
  /** Prometheus text of one workspace's series and those without one. */
  render(workspaceId: string): string[];
}
