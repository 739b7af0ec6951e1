import { setTimeout } from 'node:timers/promises';
import { type Client, Sandbox } from '@holdfast/sdk';
import type { SandboxServer } from '../../test/e2e/setup/sandbox-server.ts';
import { until } from '../../test/e2e/setup/until.ts';
import { timeBareQemu } from './bare-qemu.ts';
import { footprint, occupiedMachines } from './machines.ts';
import { Samples } from './samples.ts';

export type Figures = Record<string, number>;

export interface RunOptions {
  /** Few samples: shows that it runs, not how fast. */
  readonly smoke: boolean;
  /** One part alone, or null for all. */
  readonly only: string | null;
  readonly say: (text: string) => void;
}

interface Run extends RunOptions {
  readonly server: SandboxServer;
  readonly client: Client;
  readonly found: Figures;
}

const path = '/root/kept.txt';
const never = { idleTimeoutMs: 0 };
const counter = 'n=0; while :; do n=$((n+1)); echo $n > /run/count; sleep 1; done';
const samplesOf = (run: RunOptions, full: number): number => (run.smoke ? Math.min(3, full) : full);

/** The pool makes up for the machine that was taken, and the guest for what it put off: a sandbox that stands by has been at rest. */
const rest = (): Promise<void> => setTimeout(400);

/** Measures everything, one after the other. */
export async function figures(server: SandboxServer, options: RunOptions): Promise<Figures> {
  const run: Run = { ...options, server, client: server.client, found: {} };
  run.say('the first sandbox (builds the template if it is not there)');
  const first = await Sandbox.create(run.client, never);
  await first.delete();
  for (const [name, part] of Object.entries(parts)) if (options.only === null || options.only === name) await part(run);
  return run.found;
}

/** What is measured, in this order; one alone with `--only`. The sizes of memory and the cold boot are set against `resume`. */
const parts: Readonly<Record<string, (run: Run) => Promise<void>>> = {
  resume: resumeAndStandby,
  create,
  exec,
  chain: chains,
  memory: resumeWithSizes,
  cold: coldBoot,
  fork: forks,
  many: manyStandingBy,
};

async function prepared(run: Run, memoryMib: 512 | 2048 = 512): Promise<Sandbox> {
  const sandbox = await Sandbox.create(run.client, { ...never, memoryMib });
  await sandbox.spawn('counter', counter);
  await sandbox.writeFile(path, 'kept over standby');
  return sandbox;
}

async function resumeAndStandby(run: Run): Promise<void> {
  run.say('standby and resume, next to a bare QEMU');
  const [resume, resumeExec, standby, bare, lean] = [
    new Samples(),
    new Samples(),
    new Samples(),
    new Samples(),
    new Samples(),
  ];
  const sandbox = await prepared(run);
  await sandbox.standby();
  const before = (await sandbox.info()).storedBytes;
  for (let i = 0; i < samplesOf(run, 200); i++) {
    bare.add(await timeBareQemu());
    await resume.time(() => sandbox.readText(path));
    await rest();
    await standby.time(() => sandbox.standby());
    lean.add(await timeBareQemu(['-nodefaults']));
    if (i % 4 !== 0) continue;
    await resumeExec.time(() => sandbox.exec(['/bin/true']));
    await rest();
    await sandbox.standby();
  }
  const { found } = run;
  Object.assign(found, {
    resume_p50_ms: resume.p50,
    resume_p99_ms: resume.p99,
    resume_samples: resume.count,
    qemu_spawn_p50_ms: bare.p50,
    qemu_spawn_nodefaults_p50_ms: lean.p50,
    resume_to_spawn_ratio: resume.p50 / bare.p50,
    resume_exec_p50_ms: resumeExec.p50,
    standby_p50_ms: standby.p50,
    standby_p99_ms: standby.p99,
  });
  const idle = await Sandbox.create(run.client, never);
  await idle.readText('/etc/hostname');
  await idle.standby();
  found.standby_disk_bytes = (await idle.info()).storedBytes;
  found.standby_counting_disk_bytes = before;
  await Promise.all([idle.delete(), sandbox.delete()]);
}

async function create(run: Run): Promise<void> {
  run.say('create');
  const created = new Samples();
  for (let i = 0; i < samplesOf(run, 40); i++) {
    await timeBareQemu();
    await rest();
    const sandbox = await created.time(async () => {
      const made = await Sandbox.create(run.client, never);
      await made.readText('/etc/hostname');
      return made;
    });
    await sandbox.delete();
  }
  run.found.create_p50_ms = created.p50;
}

async function exec(run: Run): Promise<void> {
  run.say('exec on an awake sandbox');
  const [whole, overhead] = [new Samples(), new Samples()];
  const sandbox = await Sandbox.create(run.client, never);
  for (let i = 0; i < samplesOf(run, 200); i++) {
    const began = performance.now();
    const { usage } = await sandbox.exec(['/bin/true']);
    const elapsedMs = performance.now() - began;
    whole.add(elapsedMs);
    overhead.add(elapsedMs - usage.elapsedMs);
  }
  const [pid] = await occupiedMachines(run.server.home);
  const print = pid === undefined ? null : await footprint(pid);
  Object.assign(run.found, {
    exec_p50_ms: whole.p50,
    exec_overhead_p50_ms: overhead.p50,
    running_pss_bytes: print?.totalBytes ?? Number.NaN,
    running_pss_guest_ram_bytes: print?.guestRamBytes ?? Number.NaN,
    running_pss_heap_bytes: print?.heapBytes ?? Number.NaN,
    running_pss_anonymous_bytes: print?.anonymousBytes ?? Number.NaN,
    running_pss_program_bytes: print?.programBytes ?? Number.NaN,
  });
  await sandbox.delete();
}

async function chains(run: Run): Promise<void> {
  run.say('ten execs with a standby before each');
  const chain = new Samples();
  const sandbox = await prepared(run);
  for (let i = 0; i < samplesOf(run, 20); i++) {
    let sum = 0;
    for (let step = 0; step < 10; step++) {
      await sandbox.standby();
      const began = performance.now();
      await sandbox.exec(['/bin/true']);
      sum += performance.now() - began;
    }
    chain.add(sum);
  }
  Object.assign(run.found, { chain10_p50_ms: chain.p50, chain10_p99_ms: chain.p99 });
  await sandbox.delete();
}

const sizes = [
  ['16m', 16, 512],
  ['128m', 128, 512],
  ['1g', 1024, 2048],
] as const;

async function resumeWithSizes(run: Run): Promise<void> {
  for (const [name, megabytes, memoryMib] of run.smoke ? sizes.slice(0, 1) : sizes)
    await resumeWithMemory(run, name, megabytes, memoryMib);
}

async function resumeWithMemory(run: Run, name: string, megabytes: number, memoryMib: 512 | 2048): Promise<void> {
  run.say(`resume with ${megabytes} MB of changed memory`);
  const resume = new Samples();
  const sandbox = await prepared(run, memoryMib);
  const hold = `import time; b = bytearray(b"\\x5a") * (${megabytes} << 20); open("/run/held", "w").write("x"); time.sleep(1e9)`;
  await sandbox.spawn('holder', ['python3', '-c', hold]);
  await until('the guest holds its memory', () => sandbox.stat('/run/held').catch(() => null));
  for (let i = 0; i < samplesOf(run, 40); i++) {
    await sandbox.standby();
    await timeBareQemu();
    await resume.time(() => sandbox.readText(path));
  }
  run.found[`resume_${name}_p50_ms`] = resume.p50;
  await sandbox.delete();
}

async function coldBoot(run: Run): Promise<void> {
  run.say('cold boot');
  const cold = new Samples();
  const sandbox = await prepared(run);
  for (let i = 0; i < samplesOf(run, 5); i++) {
    for (const pid of await occupiedMachines(run.server.home)) process.kill(pid, 'SIGKILL');
    await until('the loss is noticed', async () => ((await sandbox.info()).state === 'stopped' ? true : null));
    await cold.time(() => sandbox.readText(path));
  }
  run.found.cold_boot_p50_ms = cold.p50;
  run.found.cold_boot_to_resume_ratio = cold.p50 / (run.found.resume_p50_ms ?? Number.NaN);
  await sandbox.delete();
}

async function forks(run: Run): Promise<void> {
  const count = run.smoke ? 3 : 50;
  run.say(`${count} forks of a sandbox with a repository and a running process`);
  const sandbox = await prepared(run);
  const repository =
    'git init -q /root/repo && cd /root/repo && seq 20000 > data && git add . && git -c user.name=bench -c user.email=bench@localhost commit -qm data && git clone -q /root/repo /root/clone';
  const made = await sandbox.exec(repository);
  if (made.exitCode !== 0) throw new Error(`the repository could not be made: ${made.stderr}`);
  const began = performance.now();
  const { items } = await run.client.forkSandbox({ params: { id: sandbox.idOrName }, body: { count } });
  run.found.fork50_total_ms = performance.now() - began;
  const children = items.map((item) => new Sandbox(run.client, item.id));
  await Promise.all(children.map((child) => child.readText('/root/clone/.git/HEAD')));
  run.found.fork50_answering_ms = performance.now() - began;
  const pids = await occupiedMachines(run.server.home);
  const prints = await Promise.all(pids.map(footprint));
  run.found.fork_running_pss_bytes = prints.reduce((sum, print) => sum + print.totalBytes, 0) / prints.length;
  await Promise.all(children.map((child) => child.standby()));
  const stored = await Promise.all(children.map(async (child) => (await child.info()).storedBytes));
  run.found.fork_disk_bytes = stored.reduce((sum, bytes) => sum + bytes, 0) / stored.length;
  await Promise.all([sandbox, ...children].map((each) => each.delete()));
}

async function manyStandingBy(run: Run): Promise<void> {
  const count = run.smoke ? 5 : 1_000;
  run.say(`${count} sandboxes standing by`);
  const all: Sandbox[] = [];
  for (let i = 0; i < count; i++) {
    const sandbox = await Sandbox.create(run.client, never);
    await sandbox.writeFile(path, 'kept over standby');
    await sandbox.standby();
    all.push(sandbox);
    if (i % 100 === 99) run.say(`  ${i + 1}`);
  }
  const stored = await Promise.all(all.map(async (each) => (await each.info()).storedBytes));
  run.found.standby1000_processes = (await occupiedMachines(run.server.home)).length;
  run.found.standby1000_disk_bytes = stored.reduce((sum, bytes) => sum + bytes, 0);
  const [resume, single] = [new Samples(), new Samples()];
  const one = await prepared(run);
  for (let i = 0; i < samplesOf(run, 60); i++) {
    const sandbox = all[(i * 379) % all.length];
    await one.standby();
    await timeBareQemu();
    await single.time(() => one.readText(path));
    if (sandbox === undefined) continue;
    await timeBareQemu();
    await resume.time(() => sandbox.readText(path));
    await sandbox.standby();
  }
  run.found.standby1000_resume_p50_ms = resume.p50;
  run.found.standby1000_single_resume_p50_ms = single.p50;
  await one.delete();
  for (const sandbox of all) await sandbox.delete();
}
