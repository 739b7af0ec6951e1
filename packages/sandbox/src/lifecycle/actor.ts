import type { AwakeReason, Sandbox } from '@holdfast/contract';
import { HoldfastError } from '@holdfast/core';
import type { GuestClient } from '../guest/index.ts';
import { persist } from '../store/persistence.ts';
import type { EventNote } from '../store/sandbox-table.ts';
import { Activity } from './activity.ts';
import { type ForkOptions, forkRunning, forkStandby } from './fork.ts';
import type { Host, Running, SandboxOperation, SandboxRow } from './host.ts';
import { Mutex } from './mutex.ts';
import { referencesOf, type StandbyManner, standBy } from './standby.ts';
import { coldBoot, readSnapshot, startFromState } from './start.ts';

/** A sandbox without memory to come back to. */
const noMemory = { identity_pending: false, snapshot_id: null, ram_chain: [] as string[] };

const corruptNotice =
  'Its standby was corrupt, so its processes are lost; its files are kept and it boots from its disk.';

/** What the actor asks of the server as a whole. */
export interface Neighbours {
  /** Makes room for one more running sandbox, or throws `quota.exceeded`. Gives what to call when it runs, or does not. */
  readonly admit: (row: SandboxRow) => Promise<() => void>;
  /** Told when the sandbox is gone for good. */
  readonly removed: (id: string) => void;
}

/**
 * One sandbox on this host. Everything that changes its state goes through here, one thing at a time; what only uses a
 * running guest does not wait for anything.
 */
export class SandboxActor {
  readonly #host: Host;
  readonly #neighbours: Neighbours;
  readonly #lock = new Mutex();
  readonly activity: Activity;
  #row: SandboxRow;
  #running: Running | null = null;
  /** Its processes stand still for a fork: whoever wants something of the guest waits until they go on. */
  #isForking = false;
  #transition: Extract<Sandbox['state'], 'resuming' | 'standing_by' | 'deleting'> | null = null;
  #cancelLifetime: (() => void) | null = null;
  /** Resolves when the machine that was lost last has let go of the disk. */
  #ending: Promise<void> = Promise.resolve();
  #gone = false;

  constructor(host: Host, neighbours: Neighbours, row: SandboxRow) {
    this.#host = host;
    this.#neighbours = neighbours;
    this.#row = row;
    this.activity = new Activity({
      clock: host.clock,
      idleTimeoutMs: Number(row.idle_timeout_ms),
      onIdle: () => void this.#standByWhenIdle(),
    });
    if (row.keep_alive_until !== null) this.activity.keepAlive(row.keep_alive_until.getTime());
  }

  get row(): SandboxRow {
    return this.#row;
  }

  get state(): Sandbox['state'] {
    return this.#transition ?? this.#row.state;
  }

  get isRunning(): boolean {
    return this.#running !== null;
  }

  /** Takes note of the machine the sandbox runs in: a new one, or one that outlived the server before. */
  moveIn(running: Running, row: SandboxRow): void {
    this.#running = running;
    this.#row = row;
    this.#watchFor(running);
    this.activity.touch();
    this.#watchLifetime(running);
  }

  #watchFor(running: Running): void {
    void running.machine.exited.then(() => this.#lost(running, 'its machine ended'));
    void running.guest.closed.then((closed) =>
      this.#lost(running, `its guest agent was lost (${closed.reason}: ${closed.detail})`),
    );
    void running.verification?.then((found) => {
      if (found.outcome === 'corrupt') this.#lost(running, corruptNotice, `page ${found.page} of its memory`);
    });
  }

  /** The guest, resumed if need be. */
  async guest(): Promise<GuestClient> {
    if (this.#running !== null && this.#transition === null && !this.#isForking) return this.#running.guest;
    return this.#lock.run(async () => (await this.#start()).guest);
  }

  standby(force: boolean): Promise<void> {
    return this.#lock.run(async () => {
      this.#mustExist();
      if (this.#running === null) return;
      if (this.activity.isBusy && !force) {
        throw new HoldfastError('sandbox.awake', 'Something holds this sandbox awake.', {
          reasons: this.activity.reasons(),
        });
      }
      await this.#standBy(this.#running, { force, idle: false });
    });
  }

  fork(options: ForkOptions): Promise<SandboxRow[]> {
    return this.#lock.run(async () => {
      this.#mustExist();
      const running = this.#row.state === 'standby' ? null : await this.#start();
      this.#isForking = true;
      try {
        const forked = await this.#observed('fork', { count: options.count, running: running !== null }, () =>
          running === null
            ? forkStandby(this.#host, this.#row, options)
            : forkRunning(this.#host, this.#row, running, options),
        );
        this.#row = forked.source;
        return forked.children;
      } finally {
        this.#isForking = false;
      }
    });
  }

  /** Deletes the sandbox with all its files. */
  remove(): Promise<void> {
    return this.#lock.run(async () => {
      if (this.#gone) return;
      await this.#observed('delete', {}, async () => {
        const patch = { state: 'deleting', machine_id: null } as const;
        await persist(() => this.#host.table.update(this.#row, patch, { type: 'deleted' }));
        this.#gone = true;
        this.#transition = 'deleting';
        this.#host.reach('delete.recorded');
        this.stop();
        const running = this.#running;
        this.#running = null;
        running?.guest.close();
        await running?.machine.destroy();
        this.#host.reach('delete.stopped');
        await this.#host.files.release(referencesOf(this.#row));
        this.#host.reach('delete.files_removed');
        await persist(() => this.#host.table.delete(this.#row));
        this.#neighbours.removed(this.#row.id);
      });
    });
  }

  async keepAlive(untilMs: number): Promise<void> {
    await this.#lock.run(async () => {
      this.#mustExist();
      const until = untilMs > this.#host.clock.now() ? new Date(untilMs) : null;
      await this.#host.table.update(
        this.#row,
        { keep_alive_until: until },
        { type: 'keep_alive', data: { until: until?.toISOString() ?? null } },
      );
      this.#row = { ...this.#row, keep_alive_until: until };
      this.activity.keepAlive(untilMs);
    });
  }

  /** Begins activity that holds it awake; see `Activity.begin`. */
  begin(kind: AwakeReason['kind'], detail: string): () => void {
    return this.activity.begin(kind, detail);
  }

  /** Stops timers. The machine stays as it is. */
  stop(): void {
    this.activity.stop();
    this.#cancelLifetime?.();
    this.#cancelLifetime = null;
  }

  /** Waits for what is under way and lets go of the machine, which runs on. */
  detach(): Promise<void> {
    return this.#lock.run(async () => {
      this.stop();
      const running = this.#running;
      this.#running = null;
      running?.guest.close();
      running?.machine.detach();
    });
  }

  async #start(): Promise<Running> {
    this.#mustExist();
    if (this.#running !== null) return this.#running;
    this.#transition = 'resuming';
    try {
      await this.#ending;
      const runs = await this.#neighbours.admit(this.#row);
      const snapshotId = this.#row.state === 'standby' ? this.#row.snapshot_id : null;
      return await (snapshotId === null ? this.#boot() : this.#resume(snapshotId)).finally(runs);
    } finally {
      this.#transition = null;
    }
  }

  async #resume(snapshotId: string): Promise<Running> {
    const host = this.#host;
    const row = this.#row;
    const progress = { recorded: false, mayHaveRun: false };
    const patch = (machineId: string) => ({
      state: 'running' as const,
      machine_id: machineId,
      identity_pending: false,
    });
    try {
      const running = await this.#observed('resume', { storedBytes: Number(row.stored_bytes) }, async () => {
        const [template, snapshot] = await Promise.all([
          host.templates.byKey(row.frozen_key),
          readSnapshot(host, snapshotId),
        ]);
        return startFromState(host, row, template, {
          state: snapshot.state,
          ram: { index: snapshot.index, layers: row.ram_chain.map(host.files.ram) },
          record: async (machine) => {
            progress.recorded = true;
            await host.table.update(row, patch(machine.id), { type: 'resumed' });
          },
          reach: {
            taken: () => host.reach('resume.machine_taken'),
            loaded: () => host.reach('resume.loaded'),
            recorded: () => {
              host.reach('resume.recorded');
              progress.mayHaveRun = true;
            },
          },
        });
      });
      host.reach('resume.running');
      this.moveIn(running, { ...row, ...patch(running.machine.id) });
      return running;
    } catch (error) {
      await this.#resumeFailed(row, progress, error);
      throw error;
    }
  }

  /** As long as the guest has not run its standby is as good as before, unless it is the standby itself that is broken. */
  async #resumeFailed(
    row: SandboxRow,
    progress: { readonly recorded: boolean; readonly mayHaveRun: boolean },
    error: unknown,
  ): Promise<void> {
    const corrupt =
      error instanceof HoldfastError && (error.code === 'sandbox.standby_corrupt' || error.code === 'ram.corrupt');
    if (corrupt) {
      await this.#stopped(corruptNotice, { type: 'standby_corrupt', data: { reason: String(error) } });
      throw new HoldfastError('sandbox.standby_corrupt', corruptNotice, { sandbox: row.id }, { cause: error });
    }
    // A guest that ran for however short a time has changed its disk: memory from before that must never be loaded again.
    if (progress.mayHaveRun) {
      const why = 'its machine ended as it was resumed';
      await this.#stopped(`It lost its processes: ${why}.`, { type: 'machine_lost', data: { why } });
    } else if (progress.recorded) {
      const patch = { state: 'standby', machine_id: null, identity_pending: row.identity_pending } as const;
      await persist(() => this.#host.table.update(row, patch, { type: 'resume_failed' }));
    }
  }

  /** Records that there is no memory to come back to, only the disk. */
  async #stopped(notice: string, note: EventNote): Promise<void> {
    const patch = { state: 'stopped', machine_id: null, notice: notice.slice(0, 500) } as const;
    await persist(() => this.#host.table.update(this.#row, patch, note));
    this.#row = { ...this.#row, ...patch };
  }

  async #boot(): Promise<Running> {
    const before = this.#row;
    let after = before;
    const running = await this.#observed('cold_boot', {}, () =>
      coldBoot(this.#host, before, async (machine) => {
        const patch = { state: 'running' as const, machine_id: machine.id, ...noMemory };
        await this.#host.table.update(before, patch, { type: 'cold_boot' });
        after = { ...before, ...patch };
      }),
    );
    await this.#host.files.exchange(referencesOf(before), referencesOf(after));
    this.moveIn(running, after);
    return running;
  }

  async #standByWhenIdle(): Promise<void> {
    await this.#lock
      .run(async () => {
        const due = this.activity.standbyAt;
        if (this.#gone || this.#running === null || due === null || due > this.#host.clock.now()) return;
        await this.#standBy(this.#running, { force: false, idle: true });
      })
      .catch((error: unknown) => {
        this.#host.log.error('an idle sandbox could not stand by', { sandbox: this.#row.id, error: String(error) });
        this.activity.touch();
      });
  }

  async #standBy(running: Running, how: StandbyManner): Promise<void> {
    this.#transition = 'standing_by';
    try {
      this.#row = await this.#observed('standby', { ...how }, () => standBy(this.#host, this.#row, running, how));
      this.#running = null;
      running.guest.close();
      this.stop();
    } catch (error) {
      this.#transition = null;
      // What happened to its machine or its agent meanwhile was taken for a part of the standby.
      this.#watchFor(running);
      throw error;
    } finally {
      this.#transition = null;
    }
  }

  /**
   * The machine ended by itself, or must end because the memory it was resumed with turned out to be corrupt (`damage`). Files
   * that were synced are on the disk; memory is gone.
   */
  #lost(running: Running, why: string, damage: string | null = null): void {
    // The end of the machine is part of standby.
    if (this.#running !== running || this.#transition === 'standing_by') return;
    this.#running = null;
    running.guest.close();
    const { id } = this.#row;
    this.stop();
    this.#ending = running.machine.destroy();
    void this.#lock
      .run(async () => {
        await this.#ending;
        // What held the lock before may have deleted the sandbox, or started it again.
        if (this.#gone || this.#row.machine_id !== running.machine.id) return;
        if (damage === null)
          await this.#stopped(`It lost its processes: ${why}.`, { type: 'machine_lost', data: { why } });
        else await this.#stopped(why, { type: 'standby_corrupt', data: { reason: damage } });
      })
      .catch((error: unknown) =>
        this.#host.log.error('the loss of a machine could not be recorded', { sandbox: id, error: String(error) }),
      );
  }

  #watchLifetime(running: Running): void {
    const most = Number(this.#row.max_lifetime_ms);
    if (most === 0) return;
    const left = most - Number(this.#row.run_time_ms) - (this.#host.clock.monotonic() - running.since);
    this.#cancelLifetime = this.#host.clock.after(Math.max(0, left), () => {
      void this.remove().catch((error: unknown) =>
        this.#host.log.error('a sandbox at the end of its lifetime could not be deleted', {
          sandbox: this.#row.id,
          error: String(error),
        }),
      );
    });
  }

  #mustExist(): void {
    if (this.#gone)
      throw new HoldfastError('resource.not_found', 'This sandbox was deleted.', { sandbox: this.#row.id });
    if (this.#row.state === 'failed')
      throw new HoldfastError('sandbox.failed', this.#row.notice ?? undefined, { sandbox: this.#row.id });
  }

  async #observed<T>(
    name: SandboxOperation['name'],
    attributes: SandboxOperation['attributes'],
    work: () => Promise<T>,
  ): Promise<T> {
    const { id: sandboxId, workspace_id: workspaceId } = this.#row;
    const startMs = this.#host.clock.now();
    const began = this.#host.clock.monotonic();
    const finish = (error: string | null) =>
      this.#host.observe({
        name,
        workspaceId,
        sandboxId,
        attributes,
        startMs,
        endMs: startMs + this.#host.clock.monotonic() - began,
        error,
      });
    try {
      const result = await work();
      finish(null);
      return result;
    } catch (error) {
      finish(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }
}
