import type { Scopes } from '../ledger/ledger.ts';
import type { Budget } from './budget.ts';
import type { Slice } from './slice.ts';
import type { SpendingStore } from './spending-store.ts';

/** A budget, and whose amount of it a call is held to. */
export interface Level {
  readonly budget: Budget;
  /** Empty for the whole workspace. */
  readonly subject: string;
  /** The slice that the last call used, so that the next one need not look for it. */
  slice: Slice | null;
}

/** Workspaces whose budgets are kept in memory. */
const maxWorkspaces = 10_000;

/** Combinations of scopes that are remembered for each workspace. */
const maxMatched = 2_000;
const noLevels: readonly Level[] = [];

const endpointKey = (scope: string, subject: string | null): string => `${scope}:${subject ?? ''}`;

/** The budgets of one workspace as of one generation. */
export class WorkspaceBudgets {
  readonly generation: number;
  readonly #byId: ReadonlyMap<string, Budget>;
  readonly #byScope = new Map<string, Budget[]>();
  readonly #matched = new Map<string, readonly Level[]>();

  constructor(generation: number, budgets: ReadonlyMap<string, Budget>) {
    this.generation = generation;
    this.#byId = budgets;
    for (const budget of budgets.values()) {
      const key = endpointKey(budget.scope, budget.subjectId);
      const list = this.#byScope.get(key);
      if (list === undefined) this.#byScope.set(key, [budget]);
      else list.push(budget);
    }
  }

  /** Every budget that a call with these scopes is held to, the workspace's first. */
  match(scopes: Scopes): readonly Level[] {
    if (this.#byId.size === 0) return noLevels;
    const { teamId, userId, keyId, agentId, runId, endpoint } = scopes;
    const key = `${endpoint} ${teamId} ${userId} ${keyId} ${agentId} ${runId}`;
    const matched = this.#matched.get(key);
    if (matched !== undefined) return matched;
    const levels = this.#match(scopes);
    if (this.#matched.size >= maxMatched) this.#matched.clear();
    this.#matched.set(key, levels);
    return levels;
  }

  #match(scopes: Scopes): Level[] {
    const levels: Level[] = [];
    this.#add(levels, 'workspace', '', scopes.endpoint);
    this.#add(levels, 'team', scopes.teamId, scopes.endpoint);
    this.#add(levels, 'user', scopes.userId, scopes.endpoint);
    this.#add(levels, 'key', scopes.keyId, scopes.endpoint);
    this.#add(levels, 'agent', scopes.agentId, scopes.endpoint);
    this.#add(levels, 'run', scopes.runId, scopes.endpoint);
    return levels;
  }

  with(generation: number, changed: readonly (Budget & { readonly removed: boolean })[]): WorkspaceBudgets {
    const next = new Map(this.#byId);
    for (const { removed, ...budget } of changed) {
      if (removed) next.delete(budget.id);
      else next.set(budget.id, budget);
    }
    return new WorkspaceBudgets(generation, next);
  }

  #add(levels: Level[], scope: Budget['scope'], subject: string | null, endpoint: string): void {
    if (subject === null) return;
    const own = subject === '' ? undefined : this.#byScope.get(endpointKey(scope, subject));
    if (own !== undefined)
      for (const budget of own) if (applies(budget, endpoint)) levels.push({ budget, subject, slice: null });
    const each = this.#byScope.get(endpointKey(scope, null));
    if (each === undefined) return;
    for (const budget of each)
      if (applies(budget, endpoint) && !own?.some((other) => replaces(other, budget)))
        levels.push({ budget, subject, slice: null });
  }
}

const applies = (budget: Budget, endpoint: string): boolean => budget.endpoint === null || budget.endpoint === endpoint;

/** A budget of a subject's own stands in for the one that each has, so that one of them can be given more. */
const replaces = (own: Budget, each: Budget): boolean =>
  own.unit === each.unit && own.period === each.period && own.endpoint === each.endpoint && own.hard === each.hard;

/** Keeps the budgets of workspaces in memory; the write of each hold tells when they have changed. */
export class BudgetDirectory {
  readonly #store: SpendingStore;
  readonly #known = new Map<string, WorkspaceBudgets>();
  readonly #loading = new Map<string, Promise<WorkspaceBudgets>>();

  constructor(store: SpendingStore) {
    this.#store = store;
  }

  /** Undefined when they must be loaded first. */
  peek(workspaceId: string): WorkspaceBudgets | undefined {
    return this.#known.get(workspaceId);
  }

  /** Reads what has changed since; callers at the same time share one read. */
  load(workspaceId: string): Promise<WorkspaceBudgets> {
    const loading = this.#loading.get(workspaceId);
    if (loading !== undefined) return loading;
    const next = this.#read(workspaceId).finally(() => this.#loading.delete(workspaceId));
    this.#loading.set(workspaceId, next);
    return next;
  }

  async #read(workspaceId: string): Promise<WorkspaceBudgets> {
    const known = this.#known.get(workspaceId) ?? new WorkspaceBudgets(0, new Map());
    const { generation, changed } = await this.#store.budgetsSince(workspaceId, known.generation);
    const next = known.with(generation, changed);
    // Those used last are at the end of a Map.
    this.#known.delete(workspaceId);
    this.#known.set(workspaceId, next);
    const oldest = this.#known.size > maxWorkspaces ? this.#known.keys().next().value : undefined;
    if (oldest !== undefined) this.#known.delete(oldest);
    return next;
  }
}
