import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readRamIndex, verifyRamImage } from '../src/ram/index.ts';
import { type Built, build, FakeMachine, templateFile } from './test/fake-machine.ts';

const pages = 2048;
const bytes = pages * 4096;
const generations = 8;

let built: Built;
let ram: string;

before(async () => {
  built = await build();
  ram = await templateFile(join(built.folder, 'ram'), pages);
});
after(() => built.remove());

/** Numbers from 0 to limit - 1; Numerical Recipes' linear congruence, its upper bits. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** What each page should hold: the template's (undefined), zeros (0), or what `fill` writes for a seed. */
type Model = (number | undefined)[];

async function change(machine: FakeMachine, model: Model, random: (limit: number) => number): Promise<void> {
  for (let i = random(12); i >= 0; i--) {
    const first = random(pages);
    const count = 1 + random(Math.min(random(2) === 0 ? 4 : 200, pages - first));
    const seed = random(4) === 0 ? 0 : 1 + random(1_000_000);
    await machine.tell(seed === 0 ? `zero ${first} ${count}` : `fill ${first} ${count} ${seed}`);
    model.fill(seed, first, first + count);
  }
}

async function assertHolds(machine: FakeMachine, model: Model): Promise<void> {
  for (let first = 0; first < pages; ) {
    let end = first + 1;
    while (end < pages && model[end] === model[first]) end++;
    const seed = model[first];
    const count = end - first;
    const command =
      seed === undefined
        ? `check-file ${first} ${count} ${ram}`
        : seed === 0
          ? `check-zero ${first} ${count}`
          : `check ${first} ${count} ${seed}`;
    assert.equal(await machine.tell(command), 'ok', command);
    first = end;
  }
}

/** Saves and loads through many generations, sometimes in place, sometimes into a new layer. */
async function live(seed: number): Promise<void> {
  const random = randomNumbers(seed);
  const folder = join(built.folder, `life-${seed}`);
  await mkdir(folder);
  const model: Model = Array.from({ length: pages });
  const layers: string[] = [];
  const index = join(folder, 'index');
  for (let generation = 0; generation < generations; generation++) {
    const env = random(2) === 0 ? {} : { HOLDFAST_RAM_NO_SCAN: '1' };
    await using machine = await FakeMachine.start(built, { ram, bytes, env });
    if (generation > 0) {
      await machine.shim.load({ index, layers, eagerPages: random(100), verifyPages: random(pages) });
      await assertHolds(machine, model);
    }
    await change(machine, model, random);
    if (layers.length === 0 || random(3) === 0) layers.push(join(folder, `layer-${layers.length}`));
    for (let saves = random(2); saves >= 0; saves--) {
      await machine.shim.save({ index, data: layers.at(-1) ?? '', layer: layers.length - 1, sync: false });
      if (saves > 0) await change(machine, model, random);
    }
    const touched = model.filter((page) => page !== undefined).length;
    assert.ok((await readRamIndex(index)).pageCount >= touched);
    await verifyRamImage(index, layers);
    await assertHolds(machine, model);
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`eight generations hold what was written (seed ${seed})`, () => live(seed));
}
