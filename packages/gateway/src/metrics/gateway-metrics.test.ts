import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GatewayCounters } from './gateway-metrics.ts';
import type { AttemptMetric } from './metrics.ts';

const metric: AttemptMetric = {
  ...{ workspaceId: 'ws_1', endpoint: 'chat.completions', route: 'smart', provider: 'openai', model: 'gpt-4.1-mini' },
  ...{ outcome: 'ok', costMicroUsd: 250, latencyMs: 300, firstTokenMs: 20 },
  usage: {
    ...{ inputTokens: 10, cacheReadTokens: 5, cacheWrite5mTokens: 2, cacheWrite1hTokens: 1 },
    ...{ outputTokens: 7, reasoningTokens: 3 },
  },
};

test('[R-metrics] attempts, tokens, cost and times are counted', () => {
  const metrics = new GatewayCounters();
  metrics.attempt(metric);
  metrics.attempt({ ...metric, outcome: 'timeout', usage: null, costMicroUsd: null, firstTokenMs: null });
  metrics.refused('ws_1', 'chat.completions', 'budget.exhausted');
  metrics.cache('ws_1', 'hit_exact');
  metrics.callBegins();
  const lines = metrics.render('ws_1');
  const labels = 'endpoint="chat.completions",route="smart",provider="openai",model="gpt-4.1-mini"';
  for (const line of [
    `holdfast_gateway_attempts_total{${labels},outcome="ok"} 1`,
    `holdfast_gateway_attempts_total{${labels},outcome="timeout"} 1`,
    'holdfast_gateway_tokens_total{provider="openai",model="gpt-4.1-mini",type="cache_write"} 3',
    'holdfast_gateway_tokens_total{provider="openai",model="gpt-4.1-mini",type="output"} 7',
    'holdfast_gateway_cost_micro_usd_total{provider="openai",model="gpt-4.1-mini"} 250',
    'holdfast_gateway_refused_total{endpoint="chat.completions",code="budget.exhausted"} 1',
    'holdfast_gateway_cache_total{outcome="hit_exact"} 1',
    'holdfast_gateway_calls_in_flight 1',
    'holdfast_gateway_attempt_seconds_bucket{endpoint="chat.completions",provider="openai",le="0.25"} 0',
    'holdfast_gateway_attempt_seconds_bucket{endpoint="chat.completions",provider="openai",le="0.5"} 2',
    'holdfast_gateway_attempt_seconds_count{endpoint="chat.completions",provider="openai"} 2',
    'holdfast_gateway_first_token_seconds_count{provider="openai",model="gpt-4.1-mini"} 1',
  ])
    assert.ok(lines.includes(line), `${line}\n${lines.join('\n')}`);
});

test('[R-isolation] another workspace sees sums without names', () => {
  const metrics = new GatewayCounters();
  metrics.attempt(metric);
  metrics.refused('ws_1', 'chat.completions', 'limit.tokens');
  const text = metrics.render('ws_2').join('\n');
  assert.doesNotMatch(text, /smart|gpt-4.1|provider="openai"/);
  assert.match(text, /holdfast_gateway_server_attempts_total\{endpoint="chat.completions",outcome="ok"\} 1/);
});

test('[R-metrics] names that callers choose are quoted, and are bounded in number', () => {
  const metrics = new GatewayCounters();
  metrics.attempt({ ...metric, model: 'a"b\\c\nd' });
  assert.ok(metrics.render('ws_1').some((line) => line.includes('model="a\\"b\\\\c\\nd"')));
  for (let i = 0; i < 2_000; i += 1) metrics.attempt({ ...metric, model: `m${i}` });
  const series = metrics.render('ws_1').filter((line) => line.startsWith('holdfast_gateway_cost_micro_usd_total{'));
  assert.equal(series.length, 501);
  assert.ok(
    series.includes('holdfast_gateway_cost_micro_usd_total{provider="other",model="other"} 375250'),
    series.at(-1),
  );
});
