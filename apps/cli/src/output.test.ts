import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAge, formatBytes, formatTable } from './output.ts';

test('bytes and ages are told in their largest unit', () => {
  assert.deepEqual([0, 1023, 1024, 1_572_864, 5e12].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 MiB',
    '4.5 TiB',
  ]);
  const now = Date.parse('2030-01-02T00:00:00Z');
  const ages = ['2030-01-02T00:00:05Z', '2030-01-01T23:59:01Z', '2030-01-01T23:00:01Z', '2030-01-01T00:00:00Z'];
  assert.deepEqual(
    ages.map((iso) => formatAge(iso, now)),
    ['0s', '59s', '59m', '1d'],
  );
});

test('a table aligns its columns by what a terminal shows, and shows nothing that a terminal would act on', () => {
  const table = formatTable(
    ['NAME', 'N'],
    [
      ['a\u001b[31mb\u0007', 5],
      ['日本', 1234],
      [null, 0],
    ],
  );
  assert.equal(table, 'NAME  N\nab       5\n日本  1234\n-        0\n');
});
