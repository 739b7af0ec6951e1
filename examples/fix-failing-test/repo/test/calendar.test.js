import assert from 'node:assert/strict';
import { busyMinutes, canBook, freeSlots } from '../src/calendar.js';
import { test } from './suite.js';

const day = { from: '09:00', to: '17:00' };

test('a day without meetings is free', () => {
  assert.deepEqual(freeSlots([], day), ['09:00-17:00']);
});

test('slots that are too short are left out', () => {
  assert.deepEqual(freeSlots(['09:10-12:00', '12:30-17:00'], { ...day, minutes: 30 }), ['12:00-12:30']);
});

test('meetings that begin before the day or end after it count', () => {
  assert.deepEqual(freeSlots(['08:00-09:30', '16:30-18:00'], day), ['09:30-16:30']);
});

test('a short call during a workshop does not end the workshop', () => {
  const meetings = ['10:00-15:00', '11:00-11:15'];
  assert.deepEqual(freeSlots(meetings, day), ['09:00-10:00', '15:00-17:00']);
});

test('nothing can be booked while a workshop runs', () => {
  const meetings = ['10:00-15:00', '11:00-11:15'];
  assert.equal(canBook(meetings, '12:00-13:00'), false);
  assert.equal(canBook(meetings, '15:00-16:00'), true);
});

test('overlapping meetings are counted once', () => {
  assert.equal(busyMinutes(['09:00-10:00', '09:30-10:30'], day), 90);
});
