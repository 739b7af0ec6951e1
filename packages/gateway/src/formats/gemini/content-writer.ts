import { argumentObject } from '../call-arguments.ts';
import { callIdFor } from '../call-identity.ts';
import type { JsonObject } from '../format.ts';
import { type JsonDraft, parsedObject } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { mimeTypeOfUrl } from '../media-source.ts';
import type { CallPart, MediaPart, Part, ResultPart, Signature } from '../neutral.ts';

const signed = (signature: Signature | null): JsonObject =>
  signature?.origin === 'gemini' ? { thoughtSignature: signature.value } : {};

/**
 * What Google documents for calls in a conversation that another model began: from Gemini 3 on, the first call of a
 * turn needs a signature. https://ai.google.dev/gemini-api/docs/thought-signatures
 */
export const noSignature = 'skip_thought_signature_validator';

/** Writes the parts of contents; knows the names of calls, by which Gemini tells results apart. */
export class GeminiPartWriter {
  readonly #losses: Losses;
  readonly #names = new Map<string, string>();

  readonly #mustSign: boolean;

  /** `mustSign`: calls without a signature are marked as such, for models that refuse them otherwise. */
  constructor(losses: Losses, mustSign = false) {
    this.#losses = losses;
    this.#mustSign = mustSign;
  }

  media(part: MediaPart): JsonObject | null {
    const { source } = part;
    this.#loseCache(part);
    if (part.detail !== null) this.#losses.add(`${part.at}.detail`);
    if (source.kind === 'data') return { inlineData: { mimeType: source.mimeType, data: source.base64 } };
    if (source.kind === 'url')
      return { fileData: { fileUri: source.url, mimeType: source.mimeType ?? mimeTypeOfUrl(source.url, part.media) } };
    this.#losses.add(part.at);
    return null;
  }

  call(part: CallPart, signature: Signature | null, called: boolean): JsonObject {
    this.#loseCache(part);
    this.#names.set(part.id, part.name);
    const input = part.custom && part.input.kind === 'text' ? { input: part.input.text } : null;
    const args = input ?? argumentObject(part.input, part.at, this.#losses);
    const functionCall = { id: callIdFor('gemini', part.id), name: part.name, args };
    const own = signed(signature);
    const isBare = this.#mustSign && !called && own.thoughtSignature === undefined;
    return { functionCall, ...(isBare ? { thoughtSignature: noSignature } : own) };
  }

  result(part: ResultPart): JsonObject {
    this.#loseCache(part);
    const texts: string[] = [];
    const media: JsonObject[] = [];
    for (const one of part.content) {
      if (one.kind === 'text') texts.push(one.text);
      else if (one.source.kind === 'data')
        media.push({ inlineData: { mimeType: one.source.mimeType, data: one.source.base64 } });
      else this.#losses.add(one.at);
      this.#loseCache(one);
    }
    const text = texts.join('\n');
    const [first] = text;
    const object = first === '{' && !part.isError ? parsedObject(text) : null;
    const functionResponse: JsonDraft = {
      id: callIdFor('gemini', part.callId),
      name: part.name ?? this.#names.get(part.callId) ?? 'tool',
      response: object ?? (part.isError ? { error: text } : { output: text }),
    };
    if (media.length > 0) functionResponse.parts = media;
    return { functionResponse };
  }

  /**
   * Parts of one turn. Gemini's signature may come in a part of thinking without a text, as other formats carry it: it
   * belongs to what follows.
   */
  parts(parts: readonly Part[]): JsonObject[] {
    const out: JsonObject[] = [];
    let pending: Signature | null = null;
    let called = false;
    for (const part of parts) {
      switch (part.kind) {
        case 'thinking':
          if (part.signature !== null && part.signature.origin !== 'gemini') this.#losses.add(part.at);
          else {
            if (part.text !== '') out.push({ text: part.text, thought: true });
            pending = part.signature ?? pending;
          }
          break;
        case 'text':
        case 'refusal': {
          const own: Signature | null = part.kind === 'text' ? (part.signature ?? pending) : pending;
          if (part.kind === 'text') this.#loseCache(part);
          if (part.text !== '' || own !== null) out.push({ text: part.text, ...signed(own) });
          pending = null;
          break;
        }
        case 'call':
          out.push(this.call(part, part.signature ?? pending, called));
          called = true;
          pending = null;
          break;
        case 'result':
          out.push(this.result(part));
          break;
        case 'media': {
          const media = this.media(part);
          if (media !== null) out.push(media);
        }
      }
    }
    if (pending !== null) out.push({ text: '', ...signed(pending) });
    return out;
  }

  #loseCache(part: { readonly cache: MediaPart['cache']; readonly at: string }): void {
    if (part.cache !== null) this.#losses.add(`${part.at}.cache_control`);
  }
}
