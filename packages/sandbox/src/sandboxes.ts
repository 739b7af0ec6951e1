import type { AwakeReason, Sandbox, SandboxEvent } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { GuestClient } from './guest/index.ts';
import { type Neighbours, SandboxActor } from './lifecycle/actor.ts';
import { Admission } from './lifecycle/admission.ts';
import { createSandbox, newRow } from './lifecycle/create.ts';
import type { Host, SandboxRow } from './lifecycle/host.ts';
import type { Activeness, CreateSandbox, SandboxService, Scope } from './service.ts';
import { toSandbox } from './store/sandbox-table.ts';
import type { FrozenTemplate } from './template/store.ts';

/** All sandboxes of this host. */
export class Sandboxes implements SandboxService {
  readonly #host: Host;
  readonly #actors = new Map<string, SandboxActor>();
  readonly #neighbours: Neighbours;
  readonly #admission: Admission;
  #closing = false;

  constructor(host: Host) {
    this.#host = host;
    this.#admission = new Admission({
      clock: host.clock,
      readQuota: (workspaceId) => host.table.quota({ workspaceId }),
      residents: () => this.#actors.values(),
    });
    this.#neighbours = { admit: (row) => this.#admission.admit(row), removed: (id) => void this.#actors.delete(id) };
  }

  /** Adds a sandbox that is in the database. */
  add(row: SandboxRow): SandboxActor {
    const actor = new SandboxActor(this.#host, this.#neighbours, row);
    this.#actors.set(row.id, actor);
    return actor;
  }

  async create(scope: Scope, input: CreateSandbox): Promise<Sandbox> {
    this.#mustBeOpen();
    const there = await this.#admission.reserve(scope.workspaceId, 1, input.memoryMib);
    try {
      const template = await this.#host.templates.frozen(input.template, input.memoryMib);
      this.#host.pool.warm(template);
      const draft = newRow(this.#host, scope, input, template);
      const runs = await this.#admission.admit(draft);
      return await this.#create(draft, template, there).finally(runs);
    } finally {
      there();
    }
  }

  async #create(draft: SandboxRow, template: FrozenTemplate, there: () => void): Promise<Sandbox> {
    const startMs = this.#host.clock.now();
    const { running, row } = await createSandbox(this.#host, draft, template);
    there();
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
    const there = await this.#admission.reserve(scope.workspaceId, options.count, actor.row.memory_mib);
    try {
      const children = await actor.fork({ count: options.count, name: options.name });
      actor.activity.touch();
      there();
      return children.map((row) => this.#show(this.add(row)));
    } finally {
      there();
    }
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
