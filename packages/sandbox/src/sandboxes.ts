import type { AwakeReason, Sandbox, SandboxEvent } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { GuestClient } from './guest/index.ts';
import { type Neighbours, SandboxActor } from './lifecycle/actor.ts';
import { createSandbox, newRow } from './lifecycle/create.ts';
import type { Host, SandboxRow } from './lifecycle/host.ts';
import type { Activeness, CreateSandbox, SandboxService, Scope } from './service.ts';
import { type Quota, toSandbox } from './store/sandbox-table.ts';

/** How long a quota that was read counts, in milliseconds. */
const quotaMemoryMs = 5_000;

/** All sandboxes of this host. */
export class Sandboxes implements SandboxService {
  readonly #host: Host;
  readonly #actors = new Map<string, SandboxActor>();
  readonly #neighbours: Neighbours;
  readonly #quotas = new Map<string, { readonly quota: Quota; readonly until: number }>();
  #closing = false;

  constructor(host: Host) {
    this.#host = host;
    this.#neighbours = { admit: (row) => this.#admit(row), removed: (id) => void this.#actors.delete(id) };
  }

  /** Adds a sandbox that is in the database. */
  add(row: SandboxRow): SandboxActor {
    const actor = new SandboxActor(this.#host, this.#neighbours, row);
    this.#actors.set(row.id, actor);
    return actor;
  }

  async create(scope: Scope, input: CreateSandbox): Promise<Sandbox> {
    this.#mustBeOpen();
    const quota = await this.#quota(scope.workspaceId);
    const count = [...this.#actors.values()].filter((actor) => actor.row.workspace_id === scope.workspaceId).length;
    if (count >= quota.maxSandboxes) throw tooMany('sandboxes', quota.maxSandboxes);
    const template = await this.#host.templates.frozen(input.template, input.memoryMib);
    this.#host.pool.warm(template);
    const draft = newRow(this.#host, scope, input, template);
    await this.#admit(draft);
    const startMs = this.#host.clock.now();
    const { running, row } = await createSandbox(this.#host, draft, template);
    const actor = this.add(row);
    actor.moveIn(running, row);
    const { id: sandboxId, workspace_id: workspaceId } = row;
    const attributes = { template: row.template, memoryMib: row.memory_mib };
    this.#host.observe({
      name: 'create',
      workspaceId,
      sandboxId,
      attributes,
      startMs,
      endMs: this.#host.clock.now(),
      error: null,
    });
    return this.#show(actor);
  }

  async list(
    scope: Scope,
    page: Parameters<SandboxService['list']>[1],
  ): Promise<{ items: Sandbox[]; cursor: string | null }> {
    const rows = await this.#host.table.page(scope, page.limit + 1, page.cursor, page.state);
    const shown = rows.slice(0, page.limit);
    const items = shown.map((row) => {
      const actor = this.#actors.get(row.id);
      return actor === undefined ? toSandbox(row, row.state, row.last_active_at.getTime()) : this.#show(actor);
    });
    return { items, cursor: rows.length > page.limit ? (shown.at(-1)?.id ?? null) : null };
  }

  async get(scope: Scope, idOrName: string): Promise<Sandbox> {
    return this.#show(await this.#actor(scope, idOrName));
  }

  async remove(scope: Scope, idOrName: string): Promise<void> {
    await (await this.#actor(scope, idOrName)).remove();
  }

  async standby(scope: Scope, idOrName: string, options: { force: boolean }): Promise<Sandbox> {
    const actor = await this.#actor(scope, idOrName);
    await actor.standby(options.force);
    return this.#show(actor);
  }

  async resume(scope: Scope, idOrName: string): Promise<Sandbox> {
    const actor = await this.#actor(scope, idOrName);
    const end = actor.begin('request', 'resume');
    try {
      const guest = await actor.guest();
      await guest.ready;
      return this.#show(actor);
    } finally {
      end();
    }
  }

  async fork(
    scope: Scope,
    idOrName: string,
    options: { count: number; name?: string | undefined },
  ): Promise<Sandbox[]> {
    const actor = await this.#actor(scope, idOrName);
    const quota = await this.#quota(scope.workspaceId);
    if ((await this.#host.table.count(scope)) + options.count > quota.maxSandboxes)
      throw tooMany('sandboxes', quota.maxSandboxes);
    const children = await actor.fork({ count: options.count, name: options.name });
    actor.activity.touch();
    return children.map((row) => this.#show(this.add(row)));
  }

  async why(scope: Scope, idOrName: string): Promise<Activeness> {
    const actor = await this.#actor(scope, idOrName);
    if (!actor.isRunning) return { state: actor.state, awake: false, reasons: [], standbyAt: null };
    const at = actor.activity.standbyAt;
    return {
      state: actor.state,
      awake: true,
      reasons: actor.activity.reasons(),
      standbyAt: at === null ? null : new Date(at).toISOString(),
    };
  }

  async keepAlive(scope: Scope, idOrName: string, options: { seconds: number }): Promise<Sandbox> {
    const actor = await this.#actor(scope, idOrName);
    await actor.keepAlive(this.#host.clock.now() + options.seconds * 1_000);
    if (options.seconds > 0) await actor.guest();
    return this.#show(actor);
  }

  async events(scope: Scope, idOrName: string, page: { after: number; limit: number }): Promise<SandboxEvent[]> {
    const actor = await this.#actor(scope, idOrName);
    return this.#host.table.events(scope, actor.row.id, page.after, page.limit);
  }

  async withGuest<T>(
    scope: Scope,
    idOrName: string,
    activity: { kind: AwakeReason['kind']; detail: string },
    use: (guest: GuestClient) => Promise<T>,
  ): Promise<T> {
    const actor = await this.#actor(scope, idOrName);
    const end = actor.begin(activity.kind, activity.detail);
    try {
      return await use(await actor.guest());
    } finally {
      end();
    }
  }

  /** Counts by state, for metrics. */
  counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const actor of this.#actors.values()) counts[actor.state] = (counts[actor.state] ?? 0) + 1;
    return counts;
  }

  /** Puts what runs in standby, as far as nothing forbids it; the rest runs on for the next server to adopt. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(
      [...this.#actors.values()].map(async (actor) => {
        if (actor.isRunning) {
          await actor.standby(true).catch((error: unknown) => {
            this.#host.log.warn('a sandbox runs on after the server', { sandbox: actor.row.id, error: String(error) });
          });
        }
        await actor.detach();
      }),
    );
  }

  /** By id from memory, which is the way of nearly all calls; by name from the database. */
  async #actor(scope: Scope, idOrName: string): Promise<SandboxActor> {
    this.#mustBeOpen();
    const known = this.#actors.get(idOrName);
    if (known !== undefined && known.row.workspace_id === scope.workspaceId && known.state !== 'deleting') return known;
    const row = known === undefined ? await this.#host.table.find(scope, idOrName) : null;
    const found = row === null ? undefined : this.#actors.get(row.id);
    if (found === undefined)
      throw new HoldfastError('resource.not_found', 'There is no such sandbox.', { sandbox: idOrName.slice(0, 128) });
    return found;
  }

  /** Running sandboxes that only wait for their idle time-out make room for one that is wanted now. */
  async #admit(row: SandboxRow): Promise<void> {
    const quota = await this.#quota(row.workspace_id);
    const running = [...this.#actors.values()].filter(
      (actor) => actor.isRunning && actor.row.workspace_id === row.workspace_id,
    );
    const memoryMib = running.reduce((sum, actor) => sum + actor.row.memory_mib, row.memory_mib);
    const excess = Math.max(running.length + 1 - quota.maxRunning, memoryMib > quota.maxRunningMemoryMib ? 1 : 0);
    if (excess === 0) return;
    const idle = running
      .filter((actor) => !actor.activity.isBusy)
      .sort((a, b) => a.activity.lastActive - b.activity.lastActive);
    let freedMib = 0;
    let freed = 0;
    for (const actor of idle) {
      if (running.length + 1 - freed <= quota.maxRunning && memoryMib - freedMib <= quota.maxRunningMemoryMib) break;
      await actor.standby(false);
      freed++;
      freedMib += actor.row.memory_mib;
    }
    if (running.length + 1 - freed > quota.maxRunning) throw tooMany('running sandboxes', quota.maxRunning);
    if (memoryMib - freedMib > quota.maxRunningMemoryMib)
      throw tooMany('MiB of running sandboxes', quota.maxRunningMemoryMib);
  }

  async #quota(workspaceId: string): Promise<Quota> {
    const known = this.#quotas.get(workspaceId);
    if (known !== undefined && known.until > this.#host.clock.now()) return known.quota;
    const quota = await this.#host.table.quota({ workspaceId });
    this.#quotas.set(workspaceId, { quota, until: this.#host.clock.now() + quotaMemoryMs });
    return quota;
  }

  #show(actor: SandboxActor): Sandbox {
    return toSandbox(
      actor.row,
      actor.state,
      actor.isRunning ? actor.activity.lastActive : actor.row.last_active_at.getTime(),
    );
  }

  #mustBeOpen(): void {
    if (this.#closing) throw new HoldfastError('server.stopping');
  }
}

const tooMany = (what: string, most: number) =>
  new HoldfastError('quota.exceeded', `The workspace may have ${most} ${what}.`, { most });
