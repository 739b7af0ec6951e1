import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type MachineProcess, machineProcesses } from './machine-processes.ts';
import type { Random } from './random.ts';
import { type Row, readRows } from './sandbox-rows.ts';
import { untilNone } from './until.ts';

const run = promisify(execFile);

/** Where one data folder keeps what must not be orphaned. */
export interface Places {
  readonly home: string;
  readonly marker: string;
  /** Whether the server has ended: what it leaves then is for the next one to put in order. */
  readonly isOver: () => boolean;
}

/** What a write that was cut short would be called. */
const temporary = /\.(partial|new|tmp)$|^\.probe-|\.[0-9a-f]{12}$/;

/** Proves that nothing on the host belongs to nobody: processes, machine folders, files. Nothing else may be going on. */
export async function inspect(places: Places): Promise<void> {
  await untilNone('something is orphaned', async () => {
    if (places.isOver()) return [];
    const rows = await readRows(places.home);
    if (rows === null) return ['the database is away'];
    return [
      ...(await storeOffences(places, rows)),
      ...(await machineOffences(places, rows)),
      ...(await leftovers(places)),
    ];
  });
}

/** Proves that of the machines that ran before the server started only those live that a sandbox is in. */
export async function inspectAdopted(places: Places, serverStartedAt: number): Promise<void> {
  await untilNone('a machine outlived its server and belongs to no sandbox', async () => {
    if (places.isOver()) return [];
    const older = (await machineProcesses(places.marker)).filter((each) => each.startedAt < serverStartedAt);
    const rows = await readRows(places.home);
    if (rows === null) return ['the database is away'];
    const named = new Set(rows.map((row) => row.machine_id));
    return older.filter((each) => !named.has(each.machineId)).map(describe);
  });
}

const describe = (process: MachineProcess): string => `${process.kind} ${process.pid} of machine ${process.machineId}`;

const stem = (name: string): string => (name.includes('.') ? name.slice(0, name.indexOf('.')) : name);

const filesOf = (row: Row): string[] => [
  ...row.disk_chain,
  ...row.ram_chain,
  ...(row.snapshot_id === null ? [] : [row.snapshot_id]),
];

async function storeOffences({ home }: Places, rows: readonly Row[]): Promise<string[]> {
  const offences = rows.filter((row) => row.state === 'deleting').map((row) => `${row.id} is still being deleted`);
  const named = new Set(rows.flatMap(filesOf));
  const there = new Set<string>();
  for (const folder of ['disks', 'rams', 'snapshots']) {
    for (const name of await readdir(join(home, 'sandboxes/store', folder))) {
      there.add(stem(name));
      if (!named.has(stem(name))) offences.push(`no sandbox names ${folder}/${name}`);
    }
  }
  for (const row of rows)
    for (const id of filesOf(row))
      if (!there.has(id)) offences.push(`${row.name} (${row.state}) names ${id}, which is not there`);
  return offences;
}

async function machineOffences({ home, marker }: Places, rows: readonly Row[]): Promise<string[]> {
  const folder = join(home, 'sandboxes/run');
  const processes = await machineProcesses(marker);
  const alive = new Set(processes.filter((each) => each.kind === 'qemu').map((each) => each.machineId));
  const named = new Set(rows.map((row) => row.machine_id));
  const offences = processes
    .filter((each) => !alive.has(each.machineId))
    .map((each) => `${describe(each)} has no QEMU`);
  for (const row of rows)
    if (row.machine_id !== null && !alive.has(row.machine_id))
      offences.push(`${row.name} is said to be ${row.state} in a dead machine`);
  for (const place of [folder, join('/dev/shm', marker)])
    for (const name of await readdir(place).catch(() => []))
      if (!alive.has(stem(name))) offences.push(`${join(place, name)} belongs to no machine`);
  for (const id of alive) {
    const lent = (await readdir(join(folder, id)).catch(() => [])).filter((name) => name.startsWith('lent-'));
    if (!named.has(id) && lent.length > 0) offences.push(`machine ${id} has files of a sandbox and belongs to none`);
  }
  return offences;
}

async function leftovers({ home }: Places): Promise<string[]> {
  const names: string[] = [];
  for (const folder of ['.', 'log', 'sandboxes', 'sandboxes/run', 'sandboxes/store'])
    names.push(...(await readdir(join(home, folder))));
  return names.filter((name) => temporary.test(name)).map((name) => `a temporary file was left: ${name}`);
}

/**
 * Proves with QEMU's own check that no disk layer that nobody writes is damaged or has lost blocks; `most` of them, chosen at random.
 * The layer of a sandbox whose machine was killed may have lost some until it boots, when they are given back.
 */
export async function inspectDisks({ home, isOver }: Places, random: Random, most: number): Promise<void> {
  if (isOver()) return;
  const rows = (await readRows(home)) ?? [];
  const written = new Set(
    rows.flatMap((row) => (row.state === 'standby' || row.state === 'stopped' ? [] : row.disk_chain.slice(0, 1))),
  );
  const mayLeak = new Set(rows.flatMap((row) => (row.state === 'stopped' ? row.disk_chain.slice(0, 1) : [])));
  const layers = [...new Set(rows.flatMap((row) => row.disk_chain))].filter((id) => !written.has(id));
  for (const id of random.shuffled(layers).slice(0, most)) {
    const file = join(home, 'sandboxes/store/disks', `${id}.qcow2`);
    const verdict = await run('qemu-img', ['check', '-U', '-f', 'qcow2', file]).then(
      () => ({ code: 0, words: '' }),
      (error: { code?: unknown; stdout?: unknown }) => ({ code: error.code, words: String(error.stdout) }),
    );
    // 3: no damage, but blocks that nothing uses.
    if (verdict.code !== 0 && !(verdict.code === 3 && mayLeak.has(id)))
      throw new Error(`disk layer ${id} is not in order (${String(verdict.code)}): ${verdict.words}`);
  }
}
