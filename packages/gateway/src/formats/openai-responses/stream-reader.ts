import type { JsonObject, SseEvent } from '../format.ts';
import { isObject, parsedJson } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent, StreamFailure } from '../neutral.ts';
import { signatureOf } from '../signature.ts';
import { responsesStop } from '../stop-reasons.ts';
import { statusOfErrorType, streamFailureOf } from '../stream-failure.ts';
import { maxCalls, type StreamReader } from '../stream-format.ts';
import { readUsage } from '../token-counts.ts';

const textIn = (object: JsonObject, key: string): string => {
  const value = object[key];
  return typeof value === 'string' ? value : '';
};

const nested = (object: JsonObject, key: string): JsonObject => {
  const value = object[key];
  return isObject(value) ? value : {};
};

/** Events that repeat what others said, or only tell of progress. */
const repeated = new Set([
  'response.in_progress',
  'response.queued',
  'response.content_part.added',
  'response.content_part.done',
  'response.output_text.done',
  'response.refusal.done',
  'response.reasoning_summary_part.done',
  'response.reasoning_summary_text.done',
  'response.reasoning_text.done',
  'response.function_call_arguments.done',
  'response.custom_tool_call_input.done',
  'keepalive',
]);

/** Reads a stream of `/v1/responses`. */
export class ResponsesStreamReader implements StreamReader {
  readonly #losses: Losses;
  /** Calls by the index of their item. */
  readonly #calls = new Map<number, { readonly call: number; empty: boolean }>();
  #refused = false;
  #ended = false;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  read(event: SseEvent): readonly NeutralEvent[] {
    if (event.data === '' || event.data === '[DONE]' || this.#ended) return [];
    const body = parsedJson(event.data);
    if (!isObject(body)) throw this.#losses.invalid('data', 'of an event is no JSON object');
    const type = textIn(body, 'type') || (event.event ?? '');
    const delta = textIn(body, 'delta');
    switch (type) {
      case 'response.created':
        return this.#start(nested(body, 'response'));
      case 'response.output_item.added':
        return this.#begin(body, nested(body, 'item'));
      case 'response.output_text.delta':
        return delta === '' ? [] : [{ kind: 'text', choice: 0, text: delta }];
      case 'response.refusal.delta':
        this.#refused = true;
        return delta === '' ? [] : [{ kind: 'refusal', choice: 0, text: delta }];
      case 'response.reasoning_summary_part.added':
        return body.summary_index === 0 ? [] : [{ kind: 'thinking', choice: 0, text: '\n\n' }];
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        return delta === '' ? [] : [{ kind: 'thinking', choice: 0, text: delta }];
      case 'response.function_call_arguments.delta':
      case 'response.custom_tool_call_input.delta':
        return this.#arguments(body, delta);
      case 'response.output_item.done':
        return this.#close(body, nested(body, 'item'));
      case 'response.completed':
      case 'response.incomplete':
        return this.#finish(nested(body, 'response'));
      case 'response.failed':
      case 'error':
        this.#ended = true;
        return [{ kind: 'failure', failure: this.#failure(type === 'error' ? body : nested(body, 'response')) }];
      default:
        if (!repeated.has(type)) this.#losses.add(`event.${type}`);
        return [];
    }
  }

  end(): readonly NeutralEvent[] {
    return [];
  }

  /** An error event has its members by themselves. */
  #failure(body: JsonObject): StreamFailure {
    const found = streamFailureOf(body);
    if (found !== null) return found;
    const code = typeof body.code === 'string' ? body.code : null;
    const message = textIn(body, 'message').slice(0, 2_000) || 'The provider reported an error.';
    return { status: statusOfErrorType(code), type: code, message };
  }

  #start(response: JsonObject): NeutralEvent[] {
    const text = (key: string): string | null => (typeof response[key] === 'string' ? response[key] : null);
    const createdSeconds = typeof response.created_at === 'number' ? response.created_at : null;
    return [{ kind: 'start', id: text('id'), model: text('model'), createdSeconds }];
  }

  #indexOf(body: JsonObject): number {
    if (typeof body.output_index !== 'number') throw this.#losses.invalid('output_index', 'is missing');
    return body.output_index;
  }

  #begin(body: JsonObject, item: JsonObject): NeutralEvent[] {
    const type = textIn(item, 'type');
    if (type === 'message' || type === 'reasoning') return [];
    const custom = type === 'custom_tool_call';
    if (!custom && type !== 'function_call') {
      this.#losses.add(`output[].${type}`);
      return [];
    }
    if (this.#calls.size >= maxCalls) throw this.#losses.invalid('output', 'has too many calls');
    const call = this.#calls.size;
    this.#calls.set(this.#indexOf(body), { call, empty: true });
    const id = textIn(item, 'call_id') || `call_${call}`;
    return [{ kind: 'call', choice: 0, call, id, name: textIn(item, 'name'), custom, signature: null }];
  }

  #arguments(body: JsonObject, text: string): NeutralEvent[] {
    const open = this.#calls.get(this.#indexOf(body));
    if (open === undefined || text === '') return [];
    open.empty = false;
    return [{ kind: 'arguments', call: open.call, text }];
  }

  #close(body: JsonObject, item: JsonObject): NeutralEvent[] {
    const type = textIn(item, 'type');
    if (type === 'message') return [{ kind: 'block-end', choice: 0 }];
    if (type === 'reasoning') {
      const token = textIn(item, 'encrypted_content');
      if (token === '') return [{ kind: 'block-end', choice: 0 }];
      return [{ kind: 'signature', choice: 0, signature: signatureOf(token, 'openai', textIn(item, 'id')) }];
    }
    const open = this.#calls.get(this.#indexOf(body));
    if (open === undefined) return [];
    // Some servers send the arguments only when they are whole.
    const whole = open.empty ? textIn(item, type === 'custom_tool_call' ? 'input' : 'arguments') : '';
    open.empty = false;
    return [
      ...(whole === '' ? [] : [{ kind: 'arguments', call: open.call, text: whole } as const]),
      { kind: 'call-end', call: open.call },
    ];
  }

  #finish(response: JsonObject): NeutralEvent[] {
    this.#ended = true;
    const usage = readUsage('openai-responses', response.usage);
    const why = nested(response, 'incomplete_details').reason;
    const stop = responsesStop(response.status, why, { calls: this.#calls.size > 0, refusal: this.#refused });
    return [
      ...(usage === null ? [] : [{ kind: 'usage', usage } as const]),
      { kind: 'stop', choice: 0, stop },
      { kind: 'end' },
    ];
  }
}
