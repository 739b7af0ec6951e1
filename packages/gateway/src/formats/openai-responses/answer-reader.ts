import { HoldfastError } from '@holdfast/core';
import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralAnswer, Part } from '../neutral.ts';
import { responsesStop } from '../stop-reasons.ts';
import { streamFailureOf } from '../stream-failure.ts';
import { readUsage } from '../token-counts.ts';
import { readCall, readContent, readReasoning } from './item-reader.ts';

/** Members that only repeat the request, or tell of the provider's own doings. */
const asides = [
  'object',
  'background',
  'billing',
  'completed_at',
  'frequency_penalty',
  'instructions',
  'max_output_tokens',
  'max_tool_calls',
  'metadata',
  'output_text',
  'parallel_tool_calls',
  'presence_penalty',
  'previous_response_id',
  'prompt_cache_key',
  'prompt_cache_options',
  'prompt_cache_retention',
  'reasoning',
  'safety_identifier',
  'service_tier',
  'store',
  'temperature',
  'text',
  'tool_choice',
  'tool_usage',
  'tools',
  'top_logprobs',
  'top_p',
  'truncation',
  'user',
] as const;

const readItem = (value: unknown, at: string, losses: Losses): Part[] => {
  if (!isObject(value)) throw losses.invalid(at, 'must be an object');
  const item = new Members(value, at, losses);
  item.ignore('type');
  let parts: Part[];
  if (value.type === 'message') {
    item.ignore('id', 'status', 'role', 'phase');
    parts = readContent(item.take('content'), `${at}.content`, losses);
  } else if (value.type === 'function_call' || value.type === 'custom_tool_call') parts = [readCall(item, losses)];
  else if (value.type === 'reasoning') parts = [readReasoning(item)];
  else {
    losses.add(at);
    return [];
  }
  item.rest();
  return parts;
};

/**
 * Reads an answer of `/v1/responses`. Throws the error of `losses` when it has no output, and
 * `gateway.provider_failed` when it says that it failed.
 */
export const readResponsesAnswer = (object: JsonObject, losses: Losses): NeutralAnswer => {
  const body = new Members(object, '', losses);
  const status = body.text('status');
  const failure = streamFailureOf(object);
  if (status === 'failed' || status === 'cancelled' || failure !== null)
    throw new HoldfastError('gateway.provider_failed', failure?.message ?? `The response is ${status}.`);
  const output = body.take('output');
  if (!Array.isArray(output)) throw losses.invalid('output', 'must be a list');
  const parts = output.flatMap((item, i) => readItem(item, `output[${i}]`, losses));
  const why = body.nested('incomplete_details')?.reason;
  const calls = parts.some((part) => part.kind === 'call');
  const refusal = parts.some((part) => part.kind === 'refusal');
  const answer: NeutralAnswer = {
    id: body.text('id'),
    model: body.text('model'),
    createdSeconds: body.number('created_at'),
    choices: [{ index: 0, parts, stop: responsesStop(status, why, { calls, refusal }) }],
    usage: readUsage('openai-responses', body.take('usage')),
  };
  body.ignore('error', ...asides);
  body.rest();
  return answer;
};
