import { responsesStreamError } from '../error-answer.ts';
import type { JsonObject, SseEvent, Usage } from '../format.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent, Signature, StopReason } from '../neutral.ts';
import { incompleteReason } from '../stop-reasons.ts';
import { maxArgumentLength, type StreamWriter } from '../stream-format.ts';
import {
  callItem,
  itemId,
  messageItem,
  type ResponseHead,
  reasoningItem,
  refusalContent,
  responseDocument,
  textContent,
} from './response-document.ts';

interface OpenItem {
  readonly type: 'text' | 'refusal' | 'thinking';
  readonly index: number;
  readonly id: string;
  text: string;
}

interface OpenCall {
  readonly index: number;
  readonly itemId: string;
  readonly id: string;
  readonly name: string;
  readonly custom: boolean;
  text: string;
}

/** Writes a stream of `/v1/responses`, whose last event repeats all that was said. */
export class ResponsesStreamWriter implements StreamWriter {
  readonly #losses: Losses;
  #head: ResponseHead;
  #sequence = 0;
  #begun = false;
  #open: OpenItem | null = null;
  readonly #calls = new Map<number, OpenCall>();
  /** Items by index; those that are open are undefined. */
  readonly #output: (JsonObject | undefined)[] = [];
  #usage: Usage | null = null;
  #stop: StopReason = 'other';

  constructor(losses: Losses, head: ResponseHead) {
    this.#losses = losses;
    this.#head = head;
  }

  write(neutral: NeutralEvent): readonly SseEvent[] {
    const out: SseEvent[] = [];
    if (neutral.kind === 'failure') return [responsesStreamError(neutral.failure, this.#sequence)];
    if ('choice' in neutral && neutral.choice !== 0) {
      this.#losses.add(`choices[${neutral.choice}]`);
      return out;
    }
    if (neutral.kind === 'start') {
      const { id, model, createdSeconds } = this.#head;
      this.#head = {
        id: neutral.id ?? id,
        model: neutral.model ?? model,
        createdSeconds: neutral.createdSeconds ?? createdSeconds,
      };
    } else if (neutral.kind === 'usage') this.#usage = neutral.usage;
    else this.#content(neutral, out);
    return out;
  }

  #content(neutral: Exclude<NeutralEvent, { kind: 'failure' | 'start' | 'usage' }>, out: SseEvent[]): void {
    this.#begin(out);
    switch (neutral.kind) {
      case 'text':
      case 'refusal':
        this.#message(neutral.kind, neutral.text, out);
        break;
      case 'thinking':
        this.#thinking(neutral.text, out);
        break;
      case 'signature':
        this.#sign(neutral.signature, out);
        break;
      case 'call':
        if (neutral.signature !== null) this.#sign(neutral.signature, out);
        this.#call(neutral, out);
        break;
      case 'arguments':
        this.#arguments(neutral.call, neutral.text, out);
        break;
      case 'call-end':
        this.#endCall(neutral.call, out);
        break;
      case 'block-end':
        this.#close(null, out);
        break;
      case 'stop':
        this.#stop = neutral.stop.reason;
        if (neutral.stop.sequence !== null) this.#losses.add('stop_sequence');
        break;
      case 'end':
        this.#end(out);
    }
  }

  #event(type: string, body: JsonObject, out: SseEvent[]): void {
    out.push({ event: type, data: JSON.stringify({ type, sequence_number: this.#sequence, ...body }) });
    this.#sequence += 1;
  }

  #begin(out: SseEvent[]): void {
    if (this.#begun) return;
    this.#begun = true;
    const response = responseDocument(this.#head, [], null, null);
    this.#event('response.created', { response }, out);
    this.#event('response.in_progress', { response }, out);
  }

  #add(item: JsonObject, out: SseEvent[]): void {
    const index = this.#output.length;
    this.#output.push(undefined);
    this.#event('response.output_item.added', { output_index: index, item }, out);
  }

  #done(index: number, item: JsonObject, out: SseEvent[]): void {
    this.#output[index] = item;
    this.#event('response.output_item.done', { output_index: index, item }, out);
  }

  #message(type: 'text' | 'refusal', text: string, out: SseEvent[]): void {
    if (this.#open?.type !== type) {
      this.#close(null, out);
      const index = this.#output.length;
      const id = itemId('msg', this.#head.id, index);
      this.#add(messageItem(id, [], 'in_progress'), out);
      const part = type === 'text' ? textContent('') : refusalContent('');
      this.#event('response.content_part.added', { item_id: id, output_index: index, content_index: 0, part }, out);
      this.#open = { type, index, id, text: '' };
    }
    this.#open.text += text;
    const place = { item_id: this.#open.id, output_index: this.#open.index, content_index: 0, delta: text };
    if (type === 'text') this.#event('response.output_text.delta', { ...place, logprobs: [] }, out);
    else this.#event('response.refusal.delta', place, out);
  }

  #beginThinking(out: SseEvent[]): OpenItem {
    if (this.#open?.type === 'thinking') return this.#open;
    this.#close(null, out);
    const index = this.#output.length;
    const id = itemId('rs', this.#head.id, index);
    this.#add({ id, type: 'reasoning', summary: [] }, out);
    const open: OpenItem = { type: 'thinking', index, id, text: '' };
    this.#open = open;
    return open;
  }

  #thinking(text: string, out: SseEvent[]): void {
    const open = this.#beginThinking(out);
    const place = { item_id: open.id, output_index: open.index, summary_index: 0 };
    if (open.text === '')
      this.#event('response.reasoning_summary_part.added', { ...place, part: { type: 'summary_text', text: '' } }, out);
    open.text += text;
    this.#event('response.reasoning_summary_text.delta', { ...place, delta: text }, out);
  }

  #sign(signature: Signature, out: SseEvent[]): void {
    this.#beginThinking(out);
    this.#close(signature, out);
  }

  #close(signature: Signature | null, out: SseEvent[]): void {
    const open = this.#open;
    if (open === null) return;
    this.#open = null;
    const place = { item_id: open.id, output_index: open.index };
    if (open.type === 'thinking') {
      if (open.text !== '') {
        const { text } = open;
        this.#event('response.reasoning_summary_text.done', { ...place, summary_index: 0, text }, out);
        const part = { type: 'summary_text', text };
        this.#event('response.reasoning_summary_part.done', { ...place, summary_index: 0, part }, out);
      }
      // The id was said already: it stays, also where the token came with one of its own.
      this.#done(open.index, { ...reasoningItem(open.id, open.text, signature), id: open.id }, out);
      return;
    }
    const part = open.type === 'text' ? textContent(open.text) : refusalContent(open.text);
    if (open.type === 'text')
      this.#event('response.output_text.done', { ...place, content_index: 0, text: open.text, logprobs: [] }, out);
    else this.#event('response.refusal.done', { ...place, content_index: 0, refusal: open.text }, out);
    this.#event('response.content_part.done', { ...place, content_index: 0, part }, out);
    this.#done(open.index, messageItem(open.id, [part], 'completed'), out);
  }

  #call(neutral: Extract<NeutralEvent, { kind: 'call' }>, out: SseEvent[]): void {
    this.#close(null, out);
    const index = this.#output.length;
    const { id, name, custom } = neutral;
    const call: OpenCall = {
      index,
      itemId: itemId(custom ? 'ctc' : 'fc', this.#head.id, index),
      id,
      name,
      custom,
      text: '',
    };
    this.#calls.set(neutral.call, call);
    this.#add(callItem(call.itemId, call, '', 'in_progress'), out);
  }

  #arguments(number: number, text: string, out: SseEvent[]): void {
    const call = this.#calls.get(number);
    if (call === undefined) throw this.#losses.invalid('arguments', 'belong to no call that is open');
    if (call.text.length + text.length > maxArgumentLength) throw this.#losses.invalid('arguments', 'are too long');
    call.text += text;
    const type = call.custom ? 'response.custom_tool_call_input.delta' : 'response.function_call_arguments.delta';
    this.#event(type, { item_id: call.itemId, output_index: call.index, delta: text }, out);
  }

  #endCall(number: number, out: SseEvent[]): void {
    const call = this.#calls.get(number);
    if (call === undefined) return;
    this.#calls.delete(number);
    const text = call.custom || call.text !== '' ? call.text : '{}';
    const place = { item_id: call.itemId, output_index: call.index };
    if (call.custom) this.#event('response.custom_tool_call_input.done', { ...place, input: text }, out);
    else this.#event('response.function_call_arguments.done', { ...place, name: call.name, arguments: text }, out);
    this.#done(call.index, callItem(call.itemId, call, text, 'completed'), out);
  }

  #end(out: SseEvent[]): void {
    this.#close(null, out);
    for (const call of [...this.#calls.keys()]) this.#endCall(call, out);
    const output = this.#output.filter((item) => item !== undefined);
    const response = responseDocument(this.#head, output, this.#stop, this.#usage);
    const isComplete = incompleteReason(this.#stop) === null;
    this.#event(isComplete ? 'response.completed' : 'response.incomplete', { response }, out);
  }
}
