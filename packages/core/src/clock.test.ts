import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock, systemClock } from './clock.ts';

test('a manual clock fires what is due, in order, at its own instant', () => {
  const clock = new ManualClock(1000);
  const seen: string[] = [];
  clock.after(20, () => seen.push(`b${clock.now()}`));
  clock.after(10, () => {
    seen.push(`a${clock.now()}`);
    clock.after(5, () => seen.push(`c${clock.now()}`));
  });
  const cancel = clock.after(15, () => seen.push('never'));
  cancel();
  clock.advance(9);
  assert.deepEqual(seen, []);
  clock.advance(100);
  assert.deepEqual(seen, ['a1010', 'c1015', 'b1020']);
  assert.equal(clock.now(), 1109);
  assert.equal(clock.monotonic(), 109);
});

test('sleep ends with time or with its signal', async () => {
  const clock = new ManualClock();
  const done = clock.sleep(10);
  clock.advance(10);
  await done;
  const abort = new AbortController();
  const cut = clock.sleep(10, abort.signal);
  abort.abort(new Error('stop'));
  await assert.rejects(cut, /stop/);
  await assert.rejects(clock.sleep(10, AbortSignal.abort(new Error('before'))), /before/);
});

test('the system clock moves and its timers can be cancelled', async () => {
  const before = systemClock.monotonic();
  let fired = false;
  const cancel = systemClock.after(1, () => {
    fired = true;
  });
  cancel();
  await systemClock.sleep(5);
  assert.equal(fired, false);
  assert.ok(systemClock.monotonic() > before);
  assert.ok(systemClock.now() > 1_600_000_000_000);
});
