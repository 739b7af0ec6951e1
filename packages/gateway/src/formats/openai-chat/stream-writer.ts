import { openAiStreamError } from '../error-answer.ts';
import type { JsonObject, SseEvent, Usage } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent } from '../neutral.ts';
import { chatFinishReason } from '../stop-reasons.ts';
import type { StreamWriter } from '../stream-format.ts';
import { chatUsage } from '../token-counts.ts';
import { extraContent, reasoningDetail } from './thoughts.ts';

interface CallPlace {
  readonly choice: number;
  /** Among the calls of its choice. */
  readonly index: number;
  readonly custom: boolean;
  /** Nothing of its arguments was written yet. */
  empty: boolean;
}

/** Writes a stream of `/v1/chat/completions`. */
export class ChatStreamWriter implements StreamWriter {
  readonly #losses: Losses;
  readonly #includeUsage: boolean;
  /** What every chunk begins with. */
  #head: JsonObject;
  readonly #calls = new Map<number, CallPlace>();
  readonly #begun = new Set<number>();
  readonly #details = new Map<number, number>();
  /** Thoughts of a choice that no signature followed yet. */
  readonly #unsigned = new Map<number, string>();
  #usage: Usage | null = null;

  constructor(losses: Losses, head: { id: string; model: string; createdSeconds: number }, includeUsage: boolean) {
    this.#losses = losses;
    this.#includeUsage = includeUsage;
    this.#head = this.#headOf(head.id, head.model, head.createdSeconds);
  }

  write(event: NeutralEvent): readonly SseEvent[] {
    switch (event.kind) {
      case 'start':
        this.#start(event);
        return [];
      case 'text':
        return [this.#delta(event.choice, { content: event.text })];
      case 'refusal':
        return [this.#delta(event.choice, { refusal: event.text })];
      case 'thinking':
        this.#unsigned.set(event.choice, (this.#unsigned.get(event.choice) ?? '') + event.text);
        return [this.#delta(event.choice, { reasoning_content: event.text })];
      case 'signature': {
        const index = this.#details.get(event.choice) ?? 0;
        this.#details.set(event.choice, index + 1);
        const detail = reasoningDetail(this.#unsigned.get(event.choice) ?? '', event.signature, index);
        this.#unsigned.delete(event.choice);
        return [this.#delta(event.choice, { reasoning_details: [detail] })];
      }
      case 'call':
        return [this.#call(event)];
      case 'arguments':
        return this.#arguments(event.call, event.text);
      case 'call-end':
        return this.#calls.get(event.call)?.empty === true ? this.#arguments(event.call, '{}') : [];
      case 'block-end':
        return [];
      case 'usage':
        this.#usage = event.usage;
        return [];
      case 'stop':
        return [this.#chunk(event.choice, this.#opening(event.choice), chatFinishReason(event.stop.reason))];
      case 'failure':
        return [openAiStreamError(event.failure)];
      case 'end':
        return this.#end();
    }
  }

  #headOf(id: string, model: string, created: number): JsonObject {
    return { id, object: 'chat.completion.chunk', created, model };
  }

  #start(event: Extract<NeutralEvent, { kind: 'start' }>): void {
    const { id, model, created } = this.#head;
    this.#head = this.#headOf(
      event.id ?? String(id),
      event.model ?? String(model),
      event.createdSeconds ?? Number(created),
    );
  }

  #opening(choice: number): JsonObject {
    if (this.#begun.has(choice)) return {};
    this.#begun.add(choice);
    return { role: 'assistant', content: '' };
  }

  #delta(choice: number, delta: JsonObject): SseEvent {
    return this.#chunk(choice, { ...this.#opening(choice), ...delta }, null);
  }

  #chunk(index: number, delta: JsonObject, finishReason: string | null): SseEvent {
    const chunk: JsonDraft = {
      ...this.#head,
      choices: [{ index, delta, logprobs: null, finish_reason: finishReason }],
    };
    // OpenAI sends the member with every chunk to those who asked for it.
    if (this.#includeUsage) chunk.usage = null;
    return { event: null, data: JSON.stringify(chunk) };
  }

  #call(event: Extract<NeutralEvent, { kind: 'call' }>): SseEvent {
    let index = 0;
    for (const place of this.#calls.values()) if (place.choice === event.choice) index += 1;
    this.#calls.set(event.call, { choice: event.choice, index, custom: event.custom, empty: true });
    const inner = event.custom
      ? { type: 'custom', custom: { name: event.name, input: '' } }
      : { type: 'function', function: { name: event.name, arguments: '' } };
    return this.#delta(event.choice, {
      tool_calls: [{ index, id: event.id, ...inner, ...extraContent(event.signature) }],
    });
  }

  #arguments(call: number, text: string): SseEvent[] {
    const place = this.#calls.get(call);
    if (place === undefined) throw this.#losses.invalid('arguments', 'belong to no call');
    if (place.custom && place.empty && text === '{}') return [];
    place.empty = false;
    const inner = place.custom ? { custom: { input: text } } : { function: { arguments: text } };
    return [this.#delta(place.choice, { tool_calls: [{ index: place.index, ...inner }] })];
  }

  #end(): SseEvent[] {
    const done: SseEvent = { event: null, data: '[DONE]' };
    if (!this.#includeUsage || this.#usage === null) return [done];
    const last = { ...this.#head, choices: [], usage: chatUsage(this.#usage) };
    return [{ event: null, data: JSON.stringify(last) }, done];
  }
}
