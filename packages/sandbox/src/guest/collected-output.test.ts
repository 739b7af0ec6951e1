import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectOutput } from './collected-output.ts';
import { SeededRandom } from './seeded-random.ts';

async function* each(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

test('output within the limit is kept whole, beyond it its middle is dropped and counted', async () => {
  const random = new SeededRandom(7);
  for (let round = 0; round < 300; round += 1) {
    const output = random.bytes(random.below(400));
    const maxBytes = random.below(300);
    const collected = await collectOutput(each(random.cut(output)), maxBytes);
    const dropped = Math.max(0, output.length - maxBytes);
    const head = output.subarray(0, dropped === 0 ? output.length : Math.ceil(maxBytes / 2));
    const tail = output.subarray(head.length + dropped);
    assert.equal(collected.droppedBytes, dropped);
    assert.deepEqual(Buffer.from(collected.bytes), Buffer.concat([head, tail]), `round ${round}`);
  }
});

test('a failing output rejects', async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a');
    throw new Error('broken');
  }
  await assert.rejects(collectOutput(failing(), 10), /broken/);
});
