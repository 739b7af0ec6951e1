import { type Clock, HoldfastError } from '@holdfast/core';
import type { Quota } from '../store/sandbox-table.ts';
import type { SandboxActor } from './actor.ts';
import type { SandboxRow } from './host.ts';

/** How long a quota that was read counts, in milliseconds. */
const quotaMemoryMs = 5_000;

export interface AdmissionOptions {
  readonly clock: Clock;
  readonly readQuota: (workspaceId: string) => Promise<Quota>;
  /** The sandboxes of this host. */
  readonly residents: () => Iterable<SandboxActor>;
}

type Demand = Pick<SandboxRow, 'id' | 'workspace_id' | 'memory_mib'>;

/**
 * Keeps each workspace within its quota. What is admitted counts from that moment on, before it is there: many that ask
 * at once get no more than one after the other would.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #quotas = new Map<string, { readonly quota: Quota; readonly until: number }>();
  /** New sandboxes that are on their way, by workspace. */
  readonly #awaited = new Map<string, number>();
  /** Sandboxes that are about to run, in the order in which they asked. */
  readonly #starting = new Map<string, Demand>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Room for `count` new sandboxes, each of which could run. Gives the function to call when they are there or never will be.
   * Throws `quota.exceeded`.
   */
  async reserve(workspaceId: string, count: number, memoryMib: number): Promise<() => void> {
    const quota = await this.#quota(workspaceId);
    if (memoryMib > quota.maxRunningMemoryMib) throw tooMany('MiB of running sandboxes', quota.maxRunningMemoryMib);
    const awaited = this.#awaited.get(workspaceId) ?? 0;
    if (this.#residents(workspaceId).length + awaited + count > quota.maxSandboxes)
      throw tooMany('sandboxes', quota.maxSandboxes);
    this.#awaited.set(workspaceId, awaited + count);
    return once(() => {
      const left = (this.#awaited.get(workspaceId) ?? 0) - count;
      if (left > 0) this.#awaited.set(workspaceId, left);
      else this.#awaited.delete(workspaceId);
    });
  }

  /**
   * Room for one more to run: those that only wait for their idle time-out stand by for it. Gives the function to call when it runs
   * or never will. Throws `quota.exceeded`.
   */
  async admit(demand: Demand): Promise<() => void> {
    const quota = await this.#quota(demand.workspace_id);
    this.#starting.set(demand.id, demand);
    const release = once(() => void this.#starting.delete(demand.id));
    const spared = new Set<SandboxActor>();
    try {
      for (;;) {
        const excess = this.#excess(demand, quota);
        if (excess === null) return release;
        const idle = this.#idlest(demand.workspace_id, spared);
        if (idle === undefined) throw excess;
        spared.add(idle);
        await idle.standby(false).catch((error: unknown) => {
          // It became busy in the meantime, so another one has to make room.
          if (!(error instanceof HoldfastError && error.code === 'sandbox.awake')) throw error;
        });
      }
    } catch (error) {
      release();
      throw error;
    }
  }

  /** What is too much, or null. Those that asked later do not count. */
  #excess(demand: Demand, quota: Quota): HoldfastError | null {
    const running = this.#residents(demand.workspace_id).filter((actor) => actor.isRunning);
    const ids = new Set(running.map((actor) => actor.row.id));
    let count = running.length;
    let memoryMib = running.reduce((sum, actor) => sum + actor.row.memory_mib, 0);
    for (const other of this.#starting.values()) {
      if (other.workspace_id !== demand.workspace_id || ids.has(other.id)) continue;
      count++;
      memoryMib += other.memory_mib;
      if (other.id === demand.id) break;
    }
    if (count > quota.maxRunning) return tooMany('running sandboxes', quota.maxRunning);
    if (memoryMib > quota.maxRunningMemoryMib) return tooMany('MiB of running sandboxes', quota.maxRunningMemoryMib);
    return null;
  }

  #idlest(workspaceId: string, spared: ReadonlySet<SandboxActor>): SandboxActor | undefined {
    return this.#residents(workspaceId)
      .filter((actor) => actor.isRunning && !actor.activity.isBusy && !spared.has(actor))
      .sort((a, b) => a.activity.lastActive - b.activity.lastActive)[0];
  }

  #residents(workspaceId: string): SandboxActor[] {
    return [...this.#options.residents()].filter((actor) => actor.row.workspace_id === workspaceId);
  }

  async #quota(workspaceId: string): Promise<Quota> {
    const now = this.#options.clock.now();
    const known = this.#quotas.get(workspaceId);
    if (known !== undefined && known.until > now) return known.quota;
    const quota = await this.#options.readQuota(workspaceId);
    this.#quotas.set(workspaceId, { quota, until: now + quotaMemoryMs });
    return quota;
  }
}

const tooMany = (what: string, most: number) =>
  new HoldfastError('quota.exceeded', `The workspace may have ${most} ${what}.`, { most });

const once = (work: () => void): (() => void) => {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
};
