import { callArguments } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Choice, NeutralAnswer, Part } from '../neutral.ts';
import { chatStop } from '../stop-reasons.ts';
import { readUsage } from '../token-counts.ts';
import { thoughtSignatureOf, thoughtsOf } from './thoughts.ts';

const readContent = (message: Members, losses: Losses): Part[] => {
  const content = message.take('content');
  const at = message.path('content');
  const text = (value: string, place: string): Part => ({
    kind: 'text',
    text: value,
    at: place,
    cache: null,
    signature: null,
  });
  if (typeof content === 'string') return content === '' ? [] : [text(content, at)];
  if (!Array.isArray(content)) {
    if (content !== undefined && content !== null) losses.add(at);
    return [];
  }
  // Some compatible servers answer in parts.
  const parts: Part[] = [];
  for (const [i, part] of content.entries()) {
    if (isObject(part) && typeof part.text === 'string') parts.push(text(part.text, `${at}[${i}]`));
    else losses.add(`${at}[${i}]`);
  }
  return parts;
};

const readCalls = (message: Members, losses: Losses): Part[] => {
  const parts: Part[] = [];
  const at = message.path('tool_calls');
  for (const [i, value] of message.list('tool_calls').entries()) {
    const place = `${at}[${i}]`;
    if (!isObject(value)) {
      losses.add(place);
      continue;
    }
    const custom = value.type === 'custom';
    const inner = custom ? value.custom : value.function;
    if (!isObject(inner) || typeof inner.name !== 'string') throw losses.invalid(place, 'has no name of a tool');
    const id = typeof value.id === 'string' && value.id !== '' ? value.id : `call_${i}`;
    const input = callArguments(custom ? inner.input : inner.arguments);
    const signature = thoughtSignatureOf(value.extra_content);
    parts.push({ kind: 'call', id, name: inner.name, input, custom, signature, at: place, cache: null });
  }
  return parts;
};

const readChoice = (value: unknown, position: number, losses: Losses): Choice => {
  const at = `choices[${position}]`;
  if (!isObject(value)) throw losses.invalid(at, 'must be an object');
  const choice = new Members(value, at, losses);
  const inner = choice.nested('message');
  if (inner === null) throw losses.invalid(`${at}.message`, 'must be an object');
  const message = new Members(inner, `${at}.message`, losses);
  const parts = thoughtsOf(message, losses);
  parts.push(...readContent(message, losses));
  const refusal = message.text('refusal');
  if (refusal !== null && refusal !== '') parts.push({ kind: 'refusal', text: refusal, at: `${at}.message.refusal` });
  const calls = readCalls(message, losses);
  parts.push(...calls);
  message.ignore('role');
  // An empty list says nothing.
  if (Array.isArray(inner.annotations) && inner.annotations.length === 0) message.ignore('annotations');
  message.rest();
  const stop = chatStop(choice.take('finish_reason'), calls.length > 0);
  const index = choice.number('index') ?? position;
  choice.rest();
  return {
    index,
    parts,
    stop: refusal !== null && stop.reason === 'stop' ? { reason: 'refusal', sequence: null } : stop,
  };
};

/** Reads an answer of `/v1/chat/completions`. Throws the error of `losses` when it has no choices. */
export const readChatAnswer = (object: JsonObject, losses: Losses): NeutralAnswer => {
  const body = new Members(object, '', losses);
  const choices = body.take('choices');
  if (!Array.isArray(choices) || choices.length === 0) throw losses.invalid('choices', 'must be a list with an answer');
  const answer: NeutralAnswer = {
    id: body.text('id'),
    model: body.text('model'),
    createdSeconds: body.number('created'),
    choices: choices.map((choice, i) => readChoice(choice, i, losses)),
    usage: readUsage('openai-chat', body.take('usage')),
  };
  // What the provider tells about its own machines.
  body.ignore('object', 'system_fingerprint', 'service_tier');
  body.rest();
  return answer;
};
