import { HoldfastError, Sandbox, type SandboxRecord } from '@holdfast/sdk';
import { verifyCounter } from './counter.ts';
import type { BoxFacts, FileSlot, Model } from './model.ts';
import type { ServerProcess } from './server-process.ts';
import { until } from './until.ts';
import { mismatch, readVersion } from './workload.ts';

const settled: readonly string[] = ['running', 'standby', 'stopped', 'standing_by', 'resuming'];

/** What a call may answer for a moment after a machine or the database was killed under a server that lives on. */
const passing: readonly string[] = [
  'guest.disconnected',
  'sandbox.machine_lost',
  'sandbox.machine_failed',
  'ram.unavailable',
  'database.unreachable',
];

/**
 * Proves that the server has what the model says: every acknowledged sandbox with its files and its memory, none that was deleted, and of what
 * was not acknowledged all or nothing. Nothing else may be going on. `patient` waits for a server that was not restarted to get over a kill.
 */
export async function verify(model: Model, server: ServerProcess, patient: boolean): Promise<void> {
  const attempt = <T>(what: string, work: () => Promise<T>) => (patient ? untilOver(what, work) : work());
  await attempt('the list agrees with what was acknowledged', async () => reconcile(model, await listAll(server)));
  await Promise.all(
    model.usable().map(({ box, id }) =>
      attempt(`${box.name} is whole`, async () => {
        const sandbox = new Sandbox(server.client, id);
        const slots = [...box.files.values()].map((slot) => verifyFile(box, sandbox, slot));
        await Promise.all([verifyCounter(box, sandbox), ...slots]);
      }),
    ),
  );
  const gone = model.gone.at(-1);
  if (gone !== undefined) await attempt(`${gone} stays deleted`, () => verifyGone(server, gone));
}

async function untilOver<T>(what: string, work: () => Promise<T>): Promise<T> {
  const { result } = await until(what, async () => {
    try {
      return { result: await work() };
    } catch (error) {
      if (error instanceof HoldfastError && passing.includes(error.code)) return null;
      throw error;
    }
  });
  return result;
}

async function listAll(server: ServerProcess): Promise<SandboxRecord[]> {
  const { items, cursor } = await server.client.listSandboxes({ query: { limit: 1_000 } });
  if (cursor !== null) throw new Error('more sandboxes than a page holds');
  return items;
}

/** Settles what was not acknowledged by what is there, and fails when that contradicts what was. */
function reconcile(model: Model, items: readonly SandboxRecord[]): void {
  const found = new Map(items.map((item) => [item.name, item]));
  for (const litter of model.litters.splice(0)) {
    const there = litter.names.filter((name) => found.has(name));
    if (there.length !== 0 && there.length !== litter.names.length)
      throw new Error(`of one fork's ${litter.names.join(', ')} only ${there.join(', ')} exist`);
  }
  for (const box of [...model.boxes.values()]) {
    const item = found.get(box.name);
    found.delete(box.name);
    if (item === undefined) {
      if (box.id !== null && box.deleted === 'no')
        throw new Error(`${box.name} (${box.id}) was acknowledged and is gone`);
      model.remove(box);
      continue;
    }
    if (box.id !== null && box.id !== item.id) throw new Error(`${box.name} was ${box.id} and is ${item.id}`);
    if (!settled.includes(item.state)) throw new Error(`${box.name} is ${item.state}: ${item.notice}`);
    box.id = item.id;
    box.deleted = 'no';
  }
  for (const item of found.values()) throw new Error(`${item.name} (${item.id}) exists, and nobody created it`);
}

async function verifyFile(box: BoxFacts, sandbox: Sandbox, slot: FileSlot): Promise<void> {
  const version = await readVersion(sandbox, slot.path);
  if (!slot.possible.has(version)) throw new Error(mismatch(box, slot, version, slot.possible));
  slot.seen(version);
}

async function verifyGone(server: ServerProcess, id: string): Promise<void> {
  const state = await new Sandbox(server.client, id).info().then(
    (info) => info.state,
    (error: unknown) => {
      if (error instanceof HoldfastError && error.code === 'resource.not_found') return null;
      throw error;
    },
  );
  if (state !== null) throw new Error(`${id} was deleted and is ${state}`);
}
