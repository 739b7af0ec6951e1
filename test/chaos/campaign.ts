import assert from 'node:assert/strict';
import { HoldfastError } from '@holdfast/sdk';
import { inspect, inspectAdopted, inspectDisks, type Places } from './inspection.ts';
import { killNow, machineProcesses, postmasterOf, startOf } from './machine-processes.ts';
import { Model } from './model.ts';
import type { Ending, InnerKill, Life } from './plan.ts';
import type { Random } from './random.ts';
import { readRows } from './sandbox-rows.ts';
import type { ServerProcess } from './server-process.ts';
import { until } from './until.ts';
import { verify } from './verification.ts';
import { type Operation, operations, Workload } from './workload.ts';

export interface CampaignOptions {
  readonly server: ServerProcess;
  readonly places: Places;
  readonly random: Random;
  readonly lives: readonly Life[];
  /** Told of each kill. */
  readonly onKill: (what: string) => void;
}

const clients = 3;
const sampledDisks = 4;
const killsPossible = ['point', 'server', 'start', 'everything', 'machine', 'postgres'] as const;
type Kind = (typeof killsPossible)[number];

/** What each fault point is reached by. */
const operationOf = (point: string): Operation | null =>
  operations.find((each) => point.startsWith(`${each}.`)) ?? null;

/** One server after another on one data folder, each killed in its own way, and everything verified after each kill. */
export class Campaign {
  readonly kills: Record<Kind, number> = { point: 0, server: 0, start: 0, everything: 0, machine: 0, postgres: 0 };
  readonly points = new Set<string>();
  readonly model = new Model();
  readonly workload: Workload;
  readonly #o: CampaignOptions;

  constructor(options: CampaignOptions) {
    this.#o = options;
    this.workload = new Workload(this.model, options.server);
  }

  get total(): number {
    return Object.values(this.kills).reduce((sum, count) => sum + count, 0);
  }

  async run(): Promise<void> {
    const { server } = this.#o;
    for (const life of this.#o.lives) await this.#live(life);
    server.start(null);
    assert.ok(await this.#settle(), 'the last server lives');
    const disks = this.#o.random.branch();
    await inspectDisks(this.#o.places, disks, Number.POSITIVE_INFINITY);
  }

  async #live({ inner, ending }: Life): Promise<void> {
    const { server, random } = this.#o;
    server.start(ending.kind === 'point' ? `${ending.point}:${ending.count}` : null);
    if (ending.kind === 'start') {
      await pause(ending.afterMs);
      server.kill();
      return this.#ended(ending);
    }
    if (!(await this.#settle())) return this.#ended(ending);
    for (const kill of inner) await this.#killWithin(kill.kind, kill.afterMs);
    const wanted = ending.kind === 'point' ? operationOf(ending.point) : null;
    const work = this.workload.run(random.branch(), clients, wanted);
    if (ending.kind === 'point') await until(`${ending.point} is reached`, async () => (this.#isOver() ? true : null));
    else await this.#kill(ending);
    await work.stop();
    this.#mustBeSound();
    return this.#ended(ending);
  }

  /** Waits for the server and verifies everything. False when it came to its fault point meanwhile. */
  async #settle(): Promise<boolean> {
    const { server, places, random } = this.#o;
    const started = server.pid === null ? null : await startOf(server.pid);
    try {
      if (!(await server.ready())) return false;
      if (started !== null) await inspectAdopted(places, started);
      await verify(this.model, server, false);
      await inspect(places);
      await inspectDisks(places, random.branch(), sampledDisks);
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === 'server.unreachable')) throw error;
      await until('the server that is not reachable has ended', async () => (server.isRunning ? null : true));
    }
    if (!server.isRunning) return false;
    this.workload.calm();
    return true;
  }

  #isOver(): boolean {
    return !this.#o.server.isRunning || this.workload.failures.length > 0;
  }

  #mustBeSound(): void {
    assert.deepEqual(this.workload.failures, []);
  }

  /** The server has ended: it must have been killed, and nothing else. */
  async #ended(ending: Ending): Promise<void> {
    const { server, onKill } = this.#o;
    const { signal, code } = await server.end;
    this.workload.disturb();
    const what =
      ending.kind === 'point' ? `${ending.point}:${ending.count}` : `${ending.kind} after ${ending.afterMs} ms`;
    assert.equal(signal, 'SIGKILL', `the server ended with ${signal ?? code} instead of being killed (${what})`);
    if (ending.kind === 'point') this.points.add(ending.point);
    this.kills[ending.kind] += 1;
    onKill(what);
  }

  async #kill(ending: Exclude<Ending, { kind: 'point' }>): Promise<void> {
    const { server, places } = this.#o;
    await pause(ending.afterMs);
    this.workload.disturb();
    this.#doubtBusy();
    server.kill();
    if (ending.kind !== 'everything') return;
    for (const { pid } of await machineProcesses(places.marker)) killNow(pid);
    for (const box of this.model.boxes.values()) box.memoryInDoubt = true;
    const postmaster = await postmasterOf(places.home);
    if (postmaster !== null) killNow(postmaster);
  }

  /** Whoever is being changed may lose its memory, but never more. */
  #doubtBusy(): void {
    for (const box of this.model.boxes.values()) if (box.inFlight > 0) box.memoryInDoubt = true;
  }

  async #killWithin(kind: InnerKill, afterMs: number): Promise<void> {
    const { random, server, onKill } = this.#o;
    const work = this.workload.run(random.branch(), clients, null);
    await pause(afterMs);
    this.workload.disturb();
    const killed = kind === 'machine' ? await this.#killMachine(random.branch()) : await this.#killPostgres();
    await work.stop();
    this.#mustBeSound();
    assert.ok(server.isRunning, `the server outlives the end of ${kind}`);
    if (killed === null) return;
    this.kills[kind] += 1;
    onKill(`${killed} after ${afterMs} ms`);
    await verify(this.model, server, true);
    await inspect(this.#o.places);
    this.workload.calm();
  }

  /** A machine of any sandbox, or an empty one of the pool. */
  async #killMachine(random: Random): Promise<string> {
    const { places } = this.#o;
    return until('a machine to kill', async () => {
      const victim = random.pick((await machineProcesses(places.marker)).filter((each) => each.kind === 'qemu'));
      // Read last: a sandbox that moves into the machine from now on has an operation in flight when the machine is killed.
      const rows = await readRows(places.home);
      if (victim === undefined || rows === null) return null;
      const owner = [...this.model.boxes.values()].find(
        (box) => box.id !== null && box.id === rows.find((row) => row.machine_id === victim.machineId)?.id,
      );
      // One that nobody is known to be in may have been taken since.
      if (owner === undefined) this.#doubtBusy();
      else owner.memoryInDoubt = true;
      if (!killNow(victim.pid)) return null;
      return owner === undefined ? 'a machine of the pool' : `the machine of ${owner.name}`;
    });
  }

  async #killPostgres(): Promise<string> {
    return until('a postmaster to kill', async () => {
      const pid = await postmasterOf(this.#o.places.home);
      return pid !== null && killNow(pid) ? 'PostgreSQL' : null;
    });
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
