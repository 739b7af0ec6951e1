import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@holdfast/core';
import { TargetHealth } from './target-health.ts';

const limits = { failuresToOpen: 3, firstOpenMs: 1_000, maxOpenMs: 4_000 };
const opened = () => {
  const clock = new ManualClock();
  const health = new TargetHealth(clock, limits);
  const fail = (): boolean => {
    health.begin();
    return health.failed();
  };
  return { clock, health, fail };
};

test('[R-gateway-breaker] a target that fails in a row is left alone, then probed by one call at a time', () => {
  const { clock, health, fail } = opened();
  assert.deepEqual([fail(), fail(), fail()], [false, false, true]);
  assert.deepEqual([health.mayBeAsked, health.report().state, health.remainingMs], [false, 'open', 1_000]);
  clock.advance(1_000);
  assert.equal(health.report().state, 'half-open');
  assert.ok(health.mayBeAsked);
  health.begin();
  assert.equal(health.mayBeAsked, false, 'a second call while the first one probes');
  assert.equal(health.succeeded(10), true);
  assert.deepEqual([health.mayBeAsked, health.report().state, health.report().failuresInARow], [true, 'well', 0]);
});

test('[R-gateway-breaker] each probe that fails keeps it closed for twice as long, up to a bound', () => {
  const { clock, health, fail } = opened();
  for (let i = 0; i < 3; i += 1) fail();
  const waits: number[] = [];
  for (let i = 0; i < 4; i += 1) {
    waits.push(health.remainingMs);
    clock.advance(health.remainingMs);
    assert.equal(fail(), false);
  }
  assert.deepEqual(waits, [1_000, 2_000, 4_000, 4_000]);
});

test('successes in between keep the breaker closed, and calls that say nothing change nothing', () => {
  const { health, fail } = opened();
  for (let i = 0; i < 20; i += 1) {
    fail();
    fail();
    health.begin();
    health.undecided();
    health.begin();
    health.succeeded(5);
  }
  assert.equal(health.mayBeAsked, true);
  assert.deepEqual([health.report().succeeded, health.report().failed], [20, 40]);
});

test('calls under way when it opens do not lengthen its time', () => {
  const { health } = opened();
  for (let i = 0; i < 10; i += 1) health.begin();
  for (let i = 0; i < 10; i += 1) health.failed();
  assert.equal(health.remainingMs, 1_000);
});

test('a cooldown is as long as asked for, and no longer than an hour', () => {
  const { clock, health } = opened();
  health.coolDown(7_000);
  assert.deepEqual([health.mayBeAsked, health.isCooling, health.report().state], [false, true, 'cooling']);
  clock.advance(6_999);
  assert.equal(health.mayBeAsked, false);
  clock.advance(1);
  assert.equal(health.mayBeAsked, true);
  health.coolDown(Number.MAX_SAFE_INTEGER);
  assert.equal(health.remainingMs, 3_600_000);
});

test('a clock that jumps by days opens what was closed, and breaks nothing', () => {
  const { clock, health, fail } = opened();
  for (let i = 0; i < 3; i += 1) fail();
  clock.advance(10 * 86_400_000);
  assert.equal(health.mayBeAsked, true);
});

test('latency is a running mean, and is measured again when it is old', () => {
  const { clock, health } = opened();
  assert.equal(health.freshLatencyMs, null);
  health.begin();
  assert.equal(health.freshLatencyMs, Number.POSITIVE_INFINITY, 'somebody is finding out');
  health.succeeded(100);
  health.begin();
  health.succeeded(200);
  assert.equal(health.freshLatencyMs, 120);
  clock.advance(60_001);
  assert.equal(health.freshLatencyMs, null);
});
