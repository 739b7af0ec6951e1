import { anthropicStreamError } from '../error-answer.ts';
import type { JsonObject, SseEvent, Usage } from '../format.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent, Signature, Stop } from '../neutral.ts';
import { signatureText } from '../signature.ts';
import { anthropicStopReason } from '../stop-reasons.ts';
import type { StreamWriter } from '../stream-format.ts';
import { messagesUsage, zeroUsage } from '../token-counts.ts';

const event = (type: string, body: JsonObject): SseEvent => ({ event: type, data: JSON.stringify({ type, ...body }) });

/** Writes a stream of `/v1/messages`. Calls may stay open beside each other; text and thoughts do not. */
export class MessagesStreamWriter implements StreamWriter {
  readonly #losses: Losses;
  #id: string;
  #model: string;
  #begun = false;
  #blocks = 0;
  #open: { readonly type: 'text' | 'thinking'; readonly index: number } | null = null;
  /** Blocks of calls that are open. */
  readonly #calls = new Map<number, { readonly index: number; readonly custom: boolean }>();
  #usage: Usage = zeroUsage;
  #stop: Stop = { reason: 'other', sequence: null };

  constructor(losses: Losses, head: { id: string; model: string }) {
    this.#losses = losses;
    this.#id = head.id;
    this.#model = head.model;
  }

  write(neutral: NeutralEvent): readonly SseEvent[] {
    const out: SseEvent[] = [];
    if (neutral.kind === 'failure') return [anthropicStreamError(neutral.failure)];
    if ('choice' in neutral && neutral.choice !== 0) {
      this.#losses.add(`choices[${neutral.choice}]`);
      return out;
    }
    if (neutral.kind === 'start') {
      this.#id = neutral.id ?? this.#id;
      this.#model = neutral.model ?? this.#model;
    } else if (neutral.kind === 'usage') this.#usage = neutral.usage;
    else this.#content(neutral, out);
    return out;
  }

  #content(neutral: Exclude<NeutralEvent, { kind: 'failure' | 'start' | 'usage' }>, out: SseEvent[]): void {
    this.#begin(out);
    switch (neutral.kind) {
      case 'text':
      case 'refusal':
        this.#delta('text', { type: 'text_delta', text: neutral.text }, out);
        break;
      case 'thinking':
        this.#delta('thinking', { type: 'thinking_delta', thinking: neutral.text }, out);
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
        this.#close(out);
        break;
      case 'stop':
        this.#stop = neutral.stop;
        break;
      case 'end':
        this.#end(out);
    }
  }

  #begin(out: SseEvent[]): void {
    if (this.#begun) return;
    this.#begun = true;
    const message = {
      id: this.#id,
      type: 'message',
      role: 'assistant',
      model: this.#model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: messagesUsage(this.#usage),
    };
    out.push(event('message_start', { message }));
  }

  #startBlock(block: JsonObject, out: SseEvent[]): number {
    const index = this.#blocks;
    this.#blocks += 1;
    out.push(event('content_block_start', { index, content_block: block }));
    return index;
  }

  #delta(type: 'text' | 'thinking', delta: JsonObject, out: SseEvent[]): void {
    if (this.#open?.type !== type) {
      this.#close(out);
      const block = type === 'text' ? { type, text: '' } : { type, thinking: '', signature: '' };
      this.#open = { type, index: this.#startBlock(block, out) };
    }
    out.push(event('content_block_delta', { index: this.#open.index, delta }));
  }

  #close(out: SseEvent[]): void {
    if (this.#open === null) return;
    out.push(event('content_block_stop', { index: this.#open.index }));
    this.#open = null;
  }

  /** Signs the thoughts that are open, or stands in a block without any. */
  #sign(signature: Signature, out: SseEvent[]): void {
    if (signature.origin === 'anthropic-redacted') {
      this.#close(out);
      const index = this.#startBlock({ type: 'redacted_thinking', data: signature.value }, out);
      out.push(event('content_block_stop', { index }));
      return;
    }
    this.#delta('thinking', { type: 'signature_delta', signature: signatureText(signature, 'anthropic') }, out);
    this.#close(out);
  }

  #call(neutral: Extract<NeutralEvent, { kind: 'call' }>, out: SseEvent[]): void {
    this.#close(out);
    const { id, name, custom } = neutral;
    const index = this.#startBlock({ type: 'tool_use', id, name, input: {} }, out);
    this.#calls.set(neutral.call, { index, custom });
    // Free text becomes the one member of an object, piece by piece.
    if (custom) this.#json(index, '{"input":"', out);
  }

  #json(index: number, text: string, out: SseEvent[]): void {
    out.push(event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: text } }));
  }

  #arguments(call: number, text: string, out: SseEvent[]): void {
    const open = this.#calls.get(call);
    if (open === undefined) throw this.#losses.invalid('arguments', 'belong to no call that is open');
    this.#json(open.index, open.custom ? JSON.stringify(text).slice(1, -1) : text, out);
  }

  #endCall(call: number, out: SseEvent[]): void {
    const open = this.#calls.get(call);
    if (open === undefined) return;
    this.#calls.delete(call);
    if (open.custom) this.#json(open.index, '"}', out);
    out.push(event('content_block_stop', { index: open.index }));
  }

  #end(out: SseEvent[]): void {
    this.#close(out);
    for (const call of [...this.#calls.keys()]) this.#endCall(call, out);
    const delta = { stop_reason: anthropicStopReason(this.#stop.reason), stop_sequence: this.#stop.sequence };
    out.push(event('message_delta', { delta, usage: messagesUsage(this.#usage) }), event('message_stop', {}));
  }
}
