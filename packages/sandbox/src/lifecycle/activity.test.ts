import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@holdfast/core';
import { Activity } from './activity.ts';

const start = (idleTimeoutMs: number) => {
  const clock = new ManualClock();
  const idleAt: number[] = [];
  const began = clock.now();
  const activity = new Activity({ clock, idleTimeoutMs, onIdle: () => idleAt.push(clock.now() - began) });
  return { clock, activity, idleAt, kinds: () => activity.reasons().map(({ kind }) => kind) };
};

test('[R-idle-standby] the time-out runs from the end of the last activity', () => {
  const { clock, activity, idleAt, kinds } = start(1_000);
  activity.touch();
  clock.advance(900);
  const endExec = activity.begin('exec', 'make');
  const endWatch = activity.begin('watch', '/tmp');
  assert.deepEqual(kinds(), ['exec', 'watch']);
  assert.equal(activity.standbyAt, null);
  clock.advance(100_000);
  endExec();
  endExec();
  clock.advance(100_000);
  assert.deepEqual([idleAt, activity.isBusy], [[], true]);
  endWatch();
  assert.deepEqual([kinds(), activity.isBusy], [['recent_activity'], false]);
  clock.advance(999);
  assert.deepEqual(idleAt, []);
  clock.advance(1);
  assert.deepEqual(idleAt, [201_900]);
  clock.advance(1_000_000);
  assert.equal(idleAt.length, 1, 'once');
});

test('[R-idle-standby] a keep-alive lasts as long as it says, and can be taken back', () => {
  const { clock, activity, idleAt, kinds } = start(1_000);
  activity.keepAlive(clock.now() + 5_000);
  assert.deepEqual([kinds(), activity.isBusy], [['keep_alive'], true]);
  clock.advance(4_999);
  assert.deepEqual(idleAt, []);
  clock.advance(1);
  assert.deepEqual([idleAt, activity.isBusy], [[5_000], false]);
  activity.keepAlive(clock.now() + 1_000_000);
  activity.keepAlive(clock.now());
  assert.deepEqual(kinds(), ['recent_activity']);
  clock.advance(1_000);
  assert.deepEqual(idleAt, [5_000, 6_000]);
});

test('[R-idle-standby] a time-out of 0 never ends, and says so', () => {
  const { clock, activity, idleAt } = start(0);
  activity.touch();
  activity.keepAlive(clock.now() + 10);
  clock.advance(1_000_000_000);
  assert.deepEqual(idleAt, []);
  assert.match(activity.reasons()[0]?.detail ?? '', /never/);
});

test('nothing fires after stop', () => {
  const { clock, activity, idleAt } = start(1_000);
  activity.touch();
  activity.stop();
  clock.advance(10_000);
  assert.deepEqual(idleAt, []);
});
