import assert from 'node:assert/strict';
import { test } from 'node:test';
import { costMicroUsd } from './prices.ts';

const usage = (inputTokens: number, outputTokens: number, cachedTokens = 0) => ({
  inputTokens,
  outputTokens,
  cachedTokens,
});

test('cost is input, cached input and output at their prices, in whole millionths', () => {
  assert.equal(costMicroUsd('gpt-4o', usage(1_000_000, 0)), 2_500_000);
  assert.equal(costMicroUsd('gpt-4o', usage(1_000_000, 0, 1_000_000)), 1_250_000);
  assert.equal(costMicroUsd('gpt-4o', usage(0, 1_000_000)), 10_000_000);
  assert.equal(costMicroUsd('gpt-5-nano', usage(10, 0)), 1);
  assert.equal(costMicroUsd('gpt-5-nano', usage(9, 0)), 0);
  assert.equal(costMicroUsd('gpt-4o', usage(0, 0)), 0);
});

test('a dated snapshot costs what its family does', () => {
  assert.equal(costMicroUsd('gpt-4.1-mini-2025-04-14', usage(1_000, 0)), 400);
});

test('more cached than input tokens count as the input', () => {
  assert.equal(costMicroUsd('gpt-4o', usage(4, 0, 1_000)), 5);
});

test('an unknown model, or a prompt beyond what a price holds for, has no cost', () => {
  assert.equal(costMicroUsd('llama3', usage(1, 1)), null);
  assert.equal(costMicroUsd('gpt-5.5', usage(272_001, 1)), null);
  assert.notEqual(costMicroUsd('gpt-5.5', usage(272_000, 1)), null);
});

test('the largest usage that is read still adds up exactly', () => {
  assert.equal(costMicroUsd('gpt-4o', usage(1e9, 1e9)), 12_500_000_000);
});
