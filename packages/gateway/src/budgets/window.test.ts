import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTimeZone, windowOf } from './window.ts';

const iso = (ms: number | null): string => (ms === null ? 'never' : new Date(ms).toISOString());
const at = (period: Parameters<typeof windowOf>[0], zone: string, time: string): string[] => {
  const { startMs, endMs } = windowOf(period, zone, Date.parse(time));
  return [iso(startMs), iso(endMs)];
};

test('windows begin where the wall clock of the time zone says', () => {
  const time = '2026-11-22T11:22:33.444Z';
  assert.deepEqual(at('minute', 'UTC', time), ['2026-11-22T11:22:00.000Z', '2026-11-22T11:23:00.000Z']);
  assert.deepEqual(at('hour', 'Asia/Kolkata', time), ['2026-11-22T10:30:00.000Z', '2026-11-22T11:30:00.000Z']);
  assert.deepEqual(at('day', 'America/Los_Angeles', time), ['2026-11-22T08:00:00.000Z', '2026-11-23T08:00:00.000Z']);
  // A Sunday: the week began on Monday the 16th.
  assert.deepEqual(at('week', 'UTC', time), ['2026-11-16T00:00:00.000Z', '2026-11-23T00:00:00.000Z']);
  assert.deepEqual(at('month', 'Europe/Berlin', time), ['2026-10-31T23:00:00.000Z', '2026-11-30T23:00:00.000Z']);
  assert.deepEqual(at('total', 'UTC', time), ['1970-01-01T00:00:00.000Z', 'never']);
});

test('a day has 23 or 25 hours when the clocks change, and a month knows both offsets', () => {
  assert.deepEqual(at('day', 'Europe/Berlin', '2026-03-29T12:00:00Z'), [
    '2026-03-28T23:00:00.000Z',
    '2026-03-29T22:00:00.000Z',
  ]);
  assert.deepEqual(at('day', 'Europe/Berlin', '2026-10-25T12:00:00Z'), [
    '2026-10-24T22:00:00.000Z',
    '2026-10-25T23:00:00.000Z',
  ]);
  assert.deepEqual(at('month', 'America/New_York', '2026-11-22T12:00:00Z'), [
    '2026-11-01T04:00:00.000Z',
    '2026-12-01T05:00:00.000Z',
  ]);
});

test('a midnight that is missing or happens twice, and a clock set back across midnight', () => {
  // Santiago sets its clocks forward at midnight: 2026-09-06 begins at 01:00.
  assert.deepEqual(at('day', 'America/Santiago', '2026-09-06T12:00:00Z'), [
    '2026-09-06T04:00:00.000Z',
    '2026-09-07T03:00:00.000Z',
  ]);
  // Havana sets its clocks back from 01:00 to midnight: the first of the two begins the day.
  assert.deepEqual(at('day', 'America/Havana', '2026-11-01T05:30:00Z'), [
    '2026-11-01T04:00:00.000Z',
    '2026-11-02T05:00:00.000Z',
  ]);
  // St. John's set them back at 00:01 until 2011: yesterday's date is shown again for an hour.
  assert.deepEqual(
    at('day', 'America/St_Johns', '2010-11-07T02:45:00Z'),
    at('day', 'America/St_Johns', '2010-11-07T12:00:00Z'),
  );
});

test('windows follow each other without gap or overlap, whatever the zone does', () => {
  const zones = ['UTC', 'Europe/Berlin', 'America/Havana', 'Australia/Lord_Howe', 'America/St_Johns', 'Asia/Kathmandu'];
  for (const zone of zones)
    for (const period of ['hour', 'day', 'week', 'month'] as const) {
      // From a fixed seed, so that a failure can be repeated.
      let seed = 42;
      for (let i = 0; i < 60; i += 1) {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
        const time = Date.UTC(2010, 0, 1) + Math.floor((seed / 2_147_483_648) * 20 * 31_536_000_000);
        const { startMs, endMs } = windowOf(period, zone, time);
        assert.ok(endMs !== null && startMs <= time && time < endMs, `${zone} ${period} ${iso(time)}`);
        assert.deepEqual(windowOf(period, zone, startMs), { startMs, endMs }, `${zone} ${period} first ${iso(time)}`);
        assert.deepEqual(windowOf(period, zone, endMs - 1), { startMs, endMs }, `${zone} ${period} last ${iso(time)}`);
        assert.equal(windowOf(period, zone, endMs).startMs, endMs, `${zone} ${period} next ${iso(time)}`);
      }
    }
});

test('minutes and hours are cut where the clock is changed by half an hour', () => {
  const changes = Date.parse('2026-04-04T15:00:00Z');
  assert.equal(windowOf('hour', 'Australia/Lord_Howe', changes).startMs, changes);
  assert.equal(windowOf('hour', 'Australia/Lord_Howe', changes - 1).endMs, changes);
});

test('only names of the time zone database are time zones', () => {
  for (const good of ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires']) assert.ok(isTimeZone(good), good);
  for (const bad of ['', '+01:00', 'Mars/Olympus', 'Europe/Berlin; drop', 'x'.repeat(64)]) assert.ok(!isTimeZone(bad));
});
