import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { faultPoints } from '@holdfast/sandbox';
import { z } from 'zod';
import { Campaign } from './campaign.ts';
import { killNow, machineProcesses, markerOf, postmasterOf } from './machine-processes.ts';
import { planOf } from './plan.ts';
import { Random } from './random.ts';
import { ServerProcess } from './server-process.ts';
import { untilNone } from './until.ts';

const settings = z
  .object({
    HOLDFAST_HOME: z.string().default(join(homedir(), '.holdfast')),
    /** Processes to kill; every fault point is reached whatever it says. */
    HOLDFAST_CHAOS_KILLS: z.coerce.number().int().min(1).max(100_000).default(40),
    /** Repeats the choices of a run. */
    HOLDFAST_CHAOS_SEED: z.coerce.number().int().min(0).max(4_294_967_295).optional(),
    /** Keeps the data folder of a run that failed. */
    HOLDFAST_CHAOS_KEEP: z.enum(['0', '1']).default('0'),
  })
  .parse(process.env);

const templateBoundMs = 900_000;

/** Makes the template if no run before did, and leaves an empty server behind. */
async function warmUp(server: ServerProcess): Promise<void> {
  server.start(null);
  assert.ok(await server.ready(), 'the first server starts');
  const { id } = await server.client.createSandbox({}, { signal: AbortSignal.timeout(templateBoundMs) });
  await server.client.deleteSandbox({ params: { id } });
  await server.stop();
}

/** Ends whatever a failed run left. */
async function clear(server: ServerProcess, keep: boolean): Promise<void> {
  server.kill();
  await server.end;
  const marker = await markerOf(server.home).catch(() => null);
  const processes = marker === null ? [] : await machineProcesses(marker);
  for (const { pid } of processes) killNow(pid);
  const postmaster = await postmasterOf(server.home);
  if (postmaster !== null) killNow(postmaster);
  if (keep) return;
  await server.remove();
  // The sockets of its machines are in memory.
  if (marker !== null) await rm(join('/dev/shm', marker), { recursive: true, force: true });
}

const summary = (campaign: Campaign, seed: number): string => {
  const kinds = Object.entries(campaign.kills).map(([kind, count]) => `${kind} ${count}`);
  const done = Object.entries(campaign.workload.counts).map(([operation, count]) => `${operation} ${count}`);
  return `${campaign.total} kills (${kinds.join(', ')}); acknowledged: ${done.join(', ')}; seed ${seed}`;
};

async function chaos(t: TestContext): Promise<void> {
  const seed = settings.HOLDFAST_CHAOS_SEED ?? Math.floor(Math.random() * 4_294_967_296);
  const random = new Random(seed);
  const lives = planOf(random, settings.HOLDFAST_CHAOS_KILLS);
  const server = await ServerProcess.prepare(settings.HOLDFAST_HOME);
  t.diagnostic(`seed ${seed}`);
  let passed = false;
  try {
    await warmUp(server);
    const places = { home: server.home, marker: await markerOf(server.home), isOver: () => !server.isRunning };
    const say = (what: string): void => {
      if (process.stdout.isTTY) process.stdout.write(`${String(campaign.total).padStart(4)}  ${what}\n`);
    };
    const campaign = new Campaign({ server, places, random, lives, onKill: say });
    await campaign.run();
    await server.stop();
    await untilNone('processes outlived the server', async () =>
      (await machineProcesses(places.marker)).map((each) => `${each.kind} ${each.pid}`),
    );
    assert.deepEqual([...campaign.points].sort(), [...faultPoints].sort(), 'every fault point was reached');
    assert.ok(campaign.total >= settings.HOLDFAST_CHAOS_KILLS, `${campaign.total} kills`);
    t.diagnostic(summary(campaign, seed));
    passed = true;
  } catch (error) {
    throw new Error(`HOLDFAST_CHAOS_SEED=${seed}: ${String(error)}\n${await server.words()}`, { cause: error });
  } finally {
    await clear(server, !passed && settings.HOLDFAST_CHAOS_KEEP === '1');
  }
}

test(
  '[R-standby-durable] [R-never-half] [R-no-orphans] [R-recovers-by-itself] nothing that was acknowledged is lost, whatever is killed',
  chaos,
);
