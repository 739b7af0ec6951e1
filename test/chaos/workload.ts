import { HoldfastError, Sandbox } from '@holdfast/sdk';
import { startCounter } from './counter.ts';
import { absent, BoxFacts, childNames, contentOf, FileSlot, type Model, versionOf } from './model.ts';
import type { Random } from './random.ts';
import type { ServerProcess } from './server-process.ts';

export const operations = ['create', 'write', 'read', 'exec', 'standby', 'resume', 'fork', 'delete'] as const;
export type Operation = (typeof operations)[number];

/** How often each is done when nothing in particular is wanted. */
const usual: Readonly<Record<Operation, number>> = {
  ...{ create: 8, write: 24, read: 12, exec: 8 },
  ...{ standby: 14, resume: 8, fork: 7, delete: 6 },
};
const wantedFactor = 8;
const fewest = 2;
const most = 6;
const paths = ['/workspace/a', '/workspace/b', '/workspace/c'] as const;
const idleTimeoutsMs = [0, 700, 3_000] as const;

/** Errors that the operations beside a forced standby or a deletion may have. */
const brokenOff: readonly string[] = [
  ...['guest.disconnected', 'guest.cancelled', 'guest.busy', 'sandbox.machine_lost', 'sandbox.awake'],
];

/**
 * Clients that do random things at the same time and note in the model what was acknowledged. An error is a failure of the test unless a
 * kill, or what another client did to the same sandbox, explains it.
 */
export class Workload {
  readonly failures: string[] = [];
  readonly counts: Record<Operation, number>;
  readonly #model: Model;
  readonly #server: ServerProcess;
  /** Odd from a kill until everything was found in order again. */
  #disturbance = 0;
  #stopping = false;

  constructor(model: Model, server: ServerProcess) {
    this.#model = model;
    this.#server = server;
    this.counts = { create: 0, write: 0, read: 0, exec: 0, standby: 0, resume: 0, fork: 0, delete: 0 };
  }

  disturb(): void {
    if (this.#disturbance % 2 === 0) this.#disturbance += 1;
  }

  calm(): void {
    if (this.#disturbance % 2 === 1) this.#disturbance += 1;
  }

  /** Runs so many clients until the promise that it gives back is asked for the end. */
  run(random: Random, clients: number, wanted: Operation | null): { stop(): Promise<void> } {
    this.#stopping = false;
    const weights = wanted === null ? usual : { ...usual, [wanted]: usual[wanted] * wantedFactor };
    const running = Array.from({ length: clients }, () => this.#client(random.branch(), weights));
    return {
      stop: async () => {
        this.#stopping = true;
        await Promise.all(running);
      },
    };
  }

  async #client(random: Random, weights: Readonly<Record<Operation, number>>): Promise<void> {
    while (!this.#stopping && this.#server.isRunning && this.failures.length === 0) {
      const count = this.#model.boxes.size;
      const possible = operations.filter((operation) => {
        if (count < fewest) return operation === 'create' || operation === 'write' || operation === 'fork';
        return count < most || (operation !== 'create' && operation !== 'fork');
      });
      const operation = random.weighted(weights, possible);
      if (operation === undefined) return;
      await this.#perform(operation, random);
      // Without a pause a client whose every call fails at once would keep the others from running.
      await new Promise((resolve) => setTimeout(resolve, random.between(0, 20)));
    }
  }

  async #perform(operation: Operation, random: Random): Promise<void> {
    if (operation === 'create') return this.#create(random);
    const chosen = random.pick(this.#model.usable());
    if (chosen === undefined) return;
    const sandbox = new Sandbox(this.#server.client, chosen.id);
    const act = {
      write: () => this.#write(chosen.box, sandbox, random),
      read: () => this.#read(chosen.box, sandbox, random),
      exec: () => this.#exec(chosen.box, sandbox, random),
      standby: () => this.#standby(chosen.box, sandbox, random),
      resume: () => this.#attempt('resume', chosen.box, () => sandbox.resume()),
      fork: () => this.#fork(chosen.box, sandbox, random),
      delete: () => this.#delete(chosen.box, sandbox),
    };
    await act[operation]();
  }

  /** Does it and tells whether it was acknowledged. */
  async #attempt(operation: Operation, box: BoxFacts, work: () => Promise<unknown>): Promise<boolean> {
    const before = this.#disturbance;
    const { interruptions } = box;
    box.inFlight += 1;
    try {
      await work();
      this.counts[operation] += 1;
      return true;
    } catch (error) {
      const disturbed = before % 2 === 1 || this.#disturbance !== before || !this.#server.isRunning;
      const code = error instanceof HoldfastError ? error.code : 'none';
      // What was being done to it when the server died is unknown; whatever else was going on with it is not.
      if (code === 'server.unreachable') box.memoryInDoubt = true;
      const interrupted = box.interruptions !== interruptions && brokenOff.includes(code);
      const deleted = box.deleted !== 'no' && (code === 'resource.not_found' || brokenOff.includes(code));
      const refused = operation === 'standby' && (code === 'sandbox.awake' || code === 'guest.busy');
      // The end of the server process is noticed a moment after the connection to it broke.
      const unreachable = code === 'server.unreachable';
      const excused = code !== 'none' && disturbed;
      if (!excused && !interrupted && !deleted && !refused && !unreachable)
        this.failures.push(
          `${operation} of ${box.name}: ${code}: ${String(error)} ${JSON.stringify(detailsOf(error))}`,
        );
      return false;
    } finally {
      box.inFlight -= 1;
    }
  }

  async #create(random: Random): Promise<void> {
    const box = new BoxFacts(this.#model.newName());
    this.#model.add(box);
    const idleTimeoutMs = random.pick(idleTimeoutsMs) ?? 0;
    const { client } = this.#server;
    await this.#attempt('create', box, async () => {
      box.id = (await client.createSandbox({ body: { name: box.name, idleTimeoutMs } })).id;
    });
    const { id } = box;
    if (id !== null) await this.#attempt('exec', box, () => startCounter(new Sandbox(client, id)));
  }

  async #write(box: BoxFacts, sandbox: Sandbox, random: Random): Promise<void> {
    const slot = box.slot(random.pick(paths) ?? paths[0]);
    if (slot.busy) return;
    slot.busy = true;
    const version = this.#model.newVersion();
    slot.send(version);
    if (await this.#attempt('write', box, () => sandbox.writeFile(slot.path, contentOf(version))))
      slot.acknowledge(version);
    slot.busy = false;
  }

  async #read(box: BoxFacts, sandbox: Sandbox, random: Random): Promise<void> {
    const slot = box.slot(random.pick(paths) ?? paths[0]);
    const watch = slot.watch();
    await this.#attempt('read', box, async () => {
      const version = await readVersion(sandbox, slot.path);
      if (!watch.versions.has(version)) this.failures.push(mismatch(box, slot, version, watch.versions));
    });
    watch.stop();
  }

  async #exec(box: BoxFacts, sandbox: Sandbox, random: Random): Promise<void> {
    const token = `token ${random.between(0, 1_000_000)}`;
    await this.#attempt('exec', box, async () => {
      const { exitCode, stdout } = await sandbox.exec(['/bin/echo', token]);
      if (exitCode !== 0 || stdout !== `${token}\n`)
        this.failures.push(`exec in ${box.name} gave ${exitCode} and ${JSON.stringify(stdout.slice(0, 200))}`);
    });
  }

  async #standby(box: BoxFacts, sandbox: Sandbox, random: Random): Promise<void> {
    const force = random.next() < 0.3;
    if (force) box.interruptions += 1;
    await this.#attempt('standby', box, () => sandbox.standby({ force }));
    if (force) box.interruptions += 1;
  }

  async #fork(box: BoxFacts, sandbox: Sandbox, random: Random): Promise<void> {
    const count = random.between(1, 2);
    const name = this.#model.newName();
    const children = childNames(name, count).map((each) => new BoxFacts(each));
    const litter = { names: children.map((child) => child.name) };
    const watches = paths.map((path) => ({ path, watch: box.slot(path).watch() }));
    const { counter, memoryInDoubt } = box;
    const copied = counter === null ? null : { ...counter };
    for (const child of children) this.#model.add(child);
    this.#model.litters.push(litter);
    let forks: Sandbox[] = [];
    const done = await this.#attempt('fork', box, async () => {
      forks = await sandbox.fork({ count, name });
    });
    for (const [index, child] of children.entries()) {
      child.counter = copied === null ? null : { ...copied };
      child.memoryInDoubt = memoryInDoubt || box.memoryInDoubt;
      for (const { path, watch } of watches) child.files.set(path, new FileSlot(path, watch.versions));
      // Only now may others use it.
      child.id = forks[index]?.idOrName ?? null;
    }
    for (const { watch } of watches) watch.stop();
    if (done) this.#model.litters.splice(this.#model.litters.indexOf(litter), 1);
  }

  async #delete(box: BoxFacts, sandbox: Sandbox): Promise<void> {
    if (this.#model.usable().length <= fewest) return;
    box.deleted = 'sent';
    box.interruptions += 1;
    if (!(await this.#attempt('delete', box, () => sandbox.delete()))) return;
    box.deleted = 'yes';
    this.#model.remove(box);
  }
}

/** The version in a file of a sandbox. Throws when it is no whole version of it. */
export async function readVersion(sandbox: Sandbox, path: string): Promise<number> {
  let content: string;
  try {
    content = await sandbox.readText(path);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'guest.not_found') return absent;
    throw error;
  }
  const version = versionOf(content);
  if (version === null)
    throw new Error(`${path} is of no version: ${content.length} characters, ${JSON.stringify(content.slice(0, 80))}`);
  return version;
}

export const mismatch = (box: BoxFacts, slot: FileSlot, version: number, possible: ReadonlySet<number>): string =>
  `${slot.path} of ${box.name} (${box.id}) holds version ${version}, and may hold ${[...possible].join(' or ')}`;

const detailsOf = (error: unknown): unknown => (error instanceof HoldfastError ? error.details : {});
