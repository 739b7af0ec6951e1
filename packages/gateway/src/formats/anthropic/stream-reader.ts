import { jsonText } from '../call-arguments.ts';
import type { JsonObject, SseEvent, Usage } from '../format.ts';
import { isObject, parsedJson } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent } from '../neutral.ts';
import { signatureOf } from '../signature.ts';
import { anthropicStop } from '../stop-reasons.ts';
import { streamFailureOf } from '../stream-failure.ts';
import { maxCalls, type StreamReader } from '../stream-format.ts';
import { anthropicUsage } from '../token-counts.ts';

/** A block that is open: what it is, and of a call its number and whether any of its arguments came. */
type OpenBlock =
  | { readonly type: 'text' | 'thinking' | 'other' }
  | { readonly type: 'call'; readonly call: number; readonly input: JsonObject; empty: boolean };

const textIn = (object: JsonObject, key: string): string => {
  const value = object[key];
  return typeof value === 'string' ? value : '';
};

/** Reads a stream of `/v1/messages`. */
export class MessagesStreamReader implements StreamReader {
  readonly #losses: Losses;
  readonly #blocks = new Map<number, OpenBlock>();
  #calls = 0;
  #usage: Usage | undefined;
  #stopped = false;
  #ended = false;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  read(event: SseEvent): readonly NeutralEvent[] {
    if (event.data === '' || event.event === 'ping' || this.#ended) return [];
    const body = parsedJson(event.data);
    if (!isObject(body)) throw this.#losses.invalid('data', 'of an event is no JSON object');
    const type = textIn(body, 'type') || event.event;
    switch (type) {
      case 'ping':
        return [];
      case 'message_start':
        return this.#start(body);
      case 'content_block_start':
        return this.#begin(body);
      case 'content_block_delta':
        return this.#delta(body);
      case 'content_block_stop':
        return this.#close(this.#indexOf(body));
      case 'message_delta':
        return this.#messageDelta(body);
      case 'message_stop':
        this.#ended = true;
        return this.#stopped ? [{ kind: 'end' }] : [];
      case 'error': {
        this.#ended = true;
        const unnamed = { status: null, type: null, message: 'The provider reported an error.' };
        return [{ kind: 'failure', failure: streamFailureOf(body) ?? unnamed }];
      }
      default:
        this.#losses.add(`event.${String(type)}`);
        return [];
    }
  }

  end(): readonly NeutralEvent[] {
    return [];
  }

  #indexOf(body: JsonObject): number {
    if (typeof body.index !== 'number') throw this.#losses.invalid('index', 'of a block is missing');
    return body.index;
  }

  #start(body: JsonObject): NeutralEvent[] {
    const message: JsonObject = isObject(body.message) ? body.message : {};
    const text = (key: string): string | null => (typeof message[key] === 'string' ? message[key] : null);
    const events: NeutralEvent[] = [{ kind: 'start', id: text('id'), model: text('model'), createdSeconds: null }];
    if (isObject(message.usage)) {
      this.#usage = anthropicUsage(message.usage, this.#usage);
      events.push({ kind: 'usage', usage: this.#usage });
    }
    return events;
  }

  #begin(body: JsonObject): NeutralEvent[] {
    const index = this.#indexOf(body);
    const block: JsonObject = isObject(body.content_block) ? body.content_block : {};
    const type = textIn(block, 'type');
    if (type === 'text') {
      this.#blocks.set(index, { type });
      const text = textIn(block, 'text');
      return text === '' ? [] : [{ kind: 'text', choice: 0, text }];
    }
    if (type === 'thinking') {
      this.#blocks.set(index, { type });
      const text = textIn(block, 'thinking');
      return text === '' ? [] : [{ kind: 'thinking', choice: 0, text }];
    }
    if (type === 'redacted_thinking') {
      this.#blocks.set(index, { type: 'other' });
      return [{ kind: 'signature', choice: 0, signature: signatureOf(textIn(block, 'data'), 'anthropic-redacted') }];
    }
    if (type !== 'tool_use') {
      this.#losses.add(`content[].${type}`);
      this.#blocks.set(index, { type: 'other' });
      return [];
    }
    if (this.#calls >= maxCalls) throw this.#losses.invalid('content', 'has too many calls');
    const call = this.#calls;
    this.#calls += 1;
    this.#blocks.set(index, { type: 'call', call, input: isObject(block.input) ? block.input : {}, empty: true });
    const id = textIn(block, 'id') || `call_${call}`;
    return [{ kind: 'call', choice: 0, call, id, name: textIn(block, 'name'), custom: false, signature: null }];
  }

  #delta(body: JsonObject): NeutralEvent[] {
    const block = this.#blocks.get(this.#indexOf(body));
    const delta: JsonObject = isObject(body.delta) ? body.delta : {};
    if (block === undefined || block.type === 'other') return [];
    switch (delta.type) {
      case 'text_delta':
        return [{ kind: 'text', choice: 0, text: textIn(delta, 'text') }];
      case 'thinking_delta':
        return [{ kind: 'thinking', choice: 0, text: textIn(delta, 'thinking') }];
      case 'signature_delta': {
        const signature = textIn(delta, 'signature');
        return signature === ''
          ? []
          : [{ kind: 'signature', choice: 0, signature: signatureOf(signature, 'anthropic') }];
      }
      case 'input_json_delta': {
        const text = textIn(delta, 'partial_json');
        if (block.type !== 'call' || text === '') return [];
        block.empty = false;
        return [{ kind: 'arguments', call: block.call, text }];
      }
      default:
        this.#losses.add(`content[].${textIn(delta, 'type')}`);
        return [];
    }
  }

  #close(index: number): NeutralEvent[] {
    const block = this.#blocks.get(index);
    this.#blocks.delete(index);
    if (block?.type === 'text' || block?.type === 'thinking') return [{ kind: 'block-end', choice: 0 }];
    if (block?.type !== 'call') return [];
    // Some servers send the whole input with the start of the block.
    const given = block.empty && Object.keys(block.input).length > 0;
    return [
      ...(given
        ? [{ kind: 'arguments', call: block.call, text: jsonText(block.input, 'input', this.#losses) } as const]
        : []),
      { kind: 'call-end', call: block.call },
    ];
  }

  #messageDelta(body: JsonObject): NeutralEvent[] {
    const events: NeutralEvent[] = [];
    if (isObject(body.usage)) {
      this.#usage = anthropicUsage(body.usage, this.#usage);
      events.push({ kind: 'usage', usage: this.#usage });
    }
    const delta: JsonObject = isObject(body.delta) ? body.delta : {};
    if (typeof delta.stop_reason === 'string' && !this.#stopped) {
      this.#stopped = true;
      events.push({ kind: 'stop', choice: 0, stop: anthropicStop(delta.stop_reason, delta.stop_sequence) });
    }
    return events;
  }
}
