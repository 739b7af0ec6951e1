import type { JsonObject, SseEvent } from '../format.ts';
import { isObject, parsedJson } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent } from '../neutral.ts';
import { signatureOf } from '../signature.ts';
import { chatStop } from '../stop-reasons.ts';
import { streamFailureOf } from '../stream-failure.ts';
import { maxArgumentLength, maxCalls, maxChoices, type StreamReader } from '../stream-format.ts';
import { readUsage } from '../token-counts.ts';
import { thoughtSignatureOf } from './thoughts.ts';

interface OpenCall {
  readonly call: number;
  /** So far; kept to see whether a call is complete when the next one begins. */
  text: string;
  readonly custom: boolean;
  ended: boolean;
}

interface OpenChoice {
  readonly calls: Map<number, OpenCall>;
  stopped: boolean;
}

const known = new Set([
  'role',
  'content',
  'refusal',
  'tool_calls',
  'reasoning_content',
  'reasoning',
  'reasoning_details',
]);

/** Reads a stream of `/v1/chat/completions`. */
export class ChatStreamReader implements StreamReader {
  readonly #losses: Losses;
  readonly #choices = new Map<number, OpenChoice>();
  #callCount = 0;
  #started = false;
  #ended = false;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  read(event: SseEvent): readonly NeutralEvent[] {
    if (event.data === '' || this.#ended) return [];
    if (event.data === '[DONE]') return this.#finish();
    const chunk = parsedJson(event.data);
    if (!isObject(chunk)) throw this.#losses.invalid('data', 'of an event is no JSON object');
    const failure = streamFailureOf(chunk);
    if (failure !== null) {
      this.#ended = true;
      return [{ kind: 'failure', failure }];
    }
    const out: NeutralEvent[] = [];
    if (!this.#started) {
      this.#started = true;
      const text = (key: string): string | null => (typeof chunk[key] === 'string' ? chunk[key] : null);
      const createdSeconds = typeof chunk.created === 'number' ? chunk.created : null;
      out.push({ kind: 'start', id: text('id'), model: text('model'), createdSeconds });
    }
    const choices: unknown[] = Array.isArray(chunk.choices) ? chunk.choices : [];
    for (const choice of choices) if (isObject(choice)) this.#readChoice(choice, out);
    const usage = readUsage('openai-chat', chunk.usage);
    if (usage !== null) out.push({ kind: 'usage', usage });
    return out;
  }

  end(): readonly NeutralEvent[] {
    // Compatible servers leave the last line out; that every answer stopped is end enough.
    const stopped = [...this.#choices.values()].every((choice) => choice.stopped);
    return this.#ended || this.#choices.size === 0 || !stopped ? [] : this.#finish();
  }

  #finish(): NeutralEvent[] {
    this.#ended = true;
    return [{ kind: 'end' }];
  }

  #readChoice(value: JsonObject, out: NeutralEvent[]): void {
    const choice = typeof value.index === 'number' ? value.index : 0;
    let open = this.#choices.get(choice);
    if (open === undefined) {
      if (this.#choices.size >= maxChoices) throw this.#losses.invalid('choices', 'are too many');
      open = { calls: new Map(), stopped: false };
      this.#choices.set(choice, open);
    }
    if (isObject(value.delta)) this.#readDelta(value.delta, choice, open, out);
    if (value.logprobs !== undefined && value.logprobs !== null) this.#losses.add('choices[].logprobs');
    if (typeof value.finish_reason !== 'string' || open.stopped) return;
    open.stopped = true;
    for (const call of open.calls.values()) if (!call.ended) out.push({ kind: 'call-end', call: call.call });
    out.push({ kind: 'stop', choice, stop: chatStop(value.finish_reason, open.calls.size > 0) });
  }

  #readDelta(delta: JsonObject, choice: number, open: OpenChoice, out: NeutralEvent[]): void {
    for (const key in delta)
      if (!known.has(key) && delta[key] !== null) this.#losses.add(`choices[].delta.${key.slice(0, 64)}`);
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (typeof thought === 'string' && thought !== '') out.push({ kind: 'thinking', choice, text: thought });
    if (Array.isArray(delta.reasoning_details)) this.#readDetails(delta.reasoning_details, choice, out);
    if (typeof delta.content === 'string' && delta.content !== '')
      out.push({ kind: 'text', choice, text: delta.content });
    if (typeof delta.refusal === 'string' && delta.refusal !== '')
      out.push({ kind: 'refusal', choice, text: delta.refusal });
    if (!Array.isArray(delta.tool_calls)) return;
    for (const call of delta.tool_calls) if (isObject(call)) this.#readCall(call, choice, open, out);
  }

  /** Of the details only what proves the thoughts counts; their text is in `reasoning_content` too. */
  #readDetails(details: readonly unknown[], choice: number, out: NeutralEvent[]): void {
    for (const detail of details) {
      if (!isObject(detail)) continue;
      const value = detail.signature ?? detail.data;
      if (typeof value !== 'string' || value === '') continue;
      if (detail.format === 'google-gemini-v1')
        out.push({ kind: 'signature', choice, signature: signatureOf(value, 'gemini') });
      else if (detail.format === 'openai-responses-v1') {
        const id = typeof detail.id === 'string' ? detail.id : '';
        out.push({ kind: 'signature', choice, signature: signatureOf(value, 'openai', id) });
      } else if (detail.format === 'anthropic-claude-v1') {
        const origin = detail.data === undefined ? 'anthropic' : 'anthropic-redacted';
        out.push({ kind: 'signature', choice, signature: signatureOf(value, origin) });
      } else this.#losses.add('choices[].delta.reasoning_details');
    }
  }

  #readCall(value: JsonObject, choice: number, open: OpenChoice, out: NeutralEvent[]): void {
    const custom = value.type === 'custom' || isObject(value.custom);
    const holder = custom ? value.custom : value.function;
    const inner: JsonObject = isObject(holder) ? holder : {};
    const index = typeof value.index === 'number' ? value.index : open.calls.size;
    let call = open.calls.get(index);
    if (call === undefined) {
      if (typeof inner.name !== 'string') throw this.#losses.invalid('tool_calls', 'begin with a call without a name');
      call = this.#beginCall(value, inner.name, custom, choice, open, out);
      open.calls.set(index, call);
    }
    const text = custom ? inner.input : inner.arguments;
    if (typeof text !== 'string' || text === '' || call.ended) return;
    if (call.text.length + text.length > maxArgumentLength) throw this.#losses.invalid('arguments', 'are too long');
    call.text += text;
    out.push({ kind: 'arguments', call: call.call, text });
  }

  #beginCall(
    value: JsonObject,
    name: string,
    custom: boolean,
    choice: number,
    open: OpenChoice,
    out: NeutralEvent[],
  ): OpenCall {
    if (this.#callCount >= maxCalls) throw this.#losses.invalid('tool_calls', 'are too many');
    // Calls may be interleaved, though none of the known servers does it: only one that is complete ends here.
    for (const other of open.calls.values()) {
      if (other.ended || other.custom || parsedJson(other.text) === undefined) continue;
      other.ended = true;
      out.push({ kind: 'call-end', call: other.call });
    }
    const call = this.#callCount;
    this.#callCount += 1;
    const id = typeof value.id === 'string' && value.id !== '' ? value.id : `call_${call}`;
    out.push({ kind: 'call', choice, call, id, name, custom, signature: thoughtSignatureOf(value.extra_content) });
    return { call, text: '', custom, ended: false };
  }
}
