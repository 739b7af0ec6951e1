import { argumentObject } from '../call-arguments.ts';
import { geminiStreamError } from '../error-answer.ts';
import type { JsonObject, SseEvent, Usage } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent, Signature, Stop } from '../neutral.ts';
import { signatureText } from '../signature.ts';
import { geminiFinishReason } from '../stop-reasons.ts';
import { maxArgumentLength, type StreamWriter } from '../stream-format.ts';
import { geminiUsageMetadata } from '../token-counts.ts';

interface OpenCall {
  readonly choice: number;
  readonly id: string;
  readonly name: string;
  readonly custom: boolean;
  readonly signature: Signature | null;
  text: string;
}

/** Writes a stream of `:streamGenerateContent?alt=sse`. A call is written when its arguments are whole. */
export class GeminiStreamWriter implements StreamWriter {
  readonly #losses: Losses;
  readonly #calls = new Map<number, OpenCall>();
  readonly #stops = new Map<number, Stop>();
  #id: string;
  #model: string;
  #usage: Usage | null = null;

  constructor(losses: Losses, head: { id: string; model: string }) {
    this.#losses = losses;
    this.#id = head.id;
    this.#model = head.model;
  }

  write(event: NeutralEvent): readonly SseEvent[] {
    switch (event.kind) {
      case 'start':
        this.#id = event.id ?? this.#id;
        this.#model = event.model ?? this.#model;
        return [];
      case 'text':
      case 'refusal':
        return [this.#part(event.choice, { text: event.text })];
      case 'thinking':
        return [this.#part(event.choice, { text: event.text, thought: true })];
      case 'signature':
        return [this.#part(event.choice, this.#signaturePart(event.signature))];
      case 'call': {
        const { choice, id, name, custom, signature } = event;
        this.#calls.set(event.call, { choice, id, name, custom, signature, text: '' });
        return [];
      }
      case 'arguments':
        this.#append(event.call, event.text);
        return [];
      case 'call-end':
        return this.#endCall(event.call);
      case 'usage':
        this.#usage = event.usage;
        return [];
      case 'stop':
        this.#stops.set(event.choice, event.stop);
        return [];
      case 'failure':
        return [geminiStreamError(event.failure)];
      case 'end':
        return this.#end();
      case 'block-end':
        return [];
    }
  }

  #chunk(candidates: readonly JsonObject[], withUsage: boolean): SseEvent {
    const body: JsonDraft = { candidates };
    if (withUsage && this.#usage !== null) body.usageMetadata = geminiUsageMetadata(this.#usage);
    body.modelVersion = this.#model;
    body.responseId = this.#id;
    return { event: null, data: JSON.stringify(body) };
  }

  #part(index: number, part: JsonObject): SseEvent {
    return this.#chunk([{ content: { parts: [part], role: 'model' }, index }], false);
  }

  #signaturePart(signature: Signature): JsonObject {
    const thoughtSignature = signatureText(signature, 'gemini');
    return signature.origin === 'gemini'
      ? { text: '', thoughtSignature }
      : { text: '', thought: true, thoughtSignature };
  }

  #append(number: number, text: string): void {
    const call = this.#calls.get(number);
    if (call === undefined) throw this.#losses.invalid('arguments', 'belong to no call that is open');
    if (call.text.length + text.length > maxArgumentLength) throw this.#losses.invalid('arguments', 'are too long');
    call.text += text;
  }

  #endCall(number: number): SseEvent[] {
    const call = this.#calls.get(number);
    if (call === undefined) return [];
    this.#calls.delete(number);
    const { id, name, signature } = call;
    const input = { kind: 'text', text: call.text } as const;
    const args = call.custom ? { input: call.text } : argumentObject(input, 'functionCall.args', this.#losses);
    const signed = signature?.origin === 'gemini' ? { thoughtSignature: signature.value } : {};
    return [this.#part(call.choice, { functionCall: { id, name, args }, ...signed })];
  }

  #end(): SseEvent[] {
    const out = [...this.#calls.keys()].flatMap((call) => this.#endCall(call));
    const candidates = [...this.#stops].map(([index, stop]) => ({
      content: { parts: [{ text: '' }], role: 'model' },
      finishReason: geminiFinishReason(stop.reason),
      index,
    }));
    return [...out, this.#chunk(candidates, true)];
  }
}
