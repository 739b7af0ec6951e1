import type { Provider } from '../providers/provider.ts';
import type { TargetHealth } from './target-health.ts';

/** A model at a provider. */
export interface Target {
  readonly provider: Provider;
  /** The model under the provider's own name. */
  readonly model: string;
  /** Names provider and model over all workspaces, and stays the same when the configuration is read again. */
  readonly key: string;
  readonly priority: number;
  readonly weight: number;
  readonly health: TargetHealth;
}
