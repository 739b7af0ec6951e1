import { argumentObject } from '../call-arguments.ts';
import { callIdFor } from '../call-identity.ts';
import type { JsonObject } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Cache, CallPart, MediaPart, Part, ResultPart, TextPart, ThinkingPart } from '../neutral.ts';

const cacheControl = (cache: Cache): JsonObject => {
  if (cache === null) return {};
  return { cache_control: cache === 'long' ? { type: 'ephemeral', ttl: '1h' } : { type: 'ephemeral' } };
};

const imageTypes = new Set(['image/jpeg', 'image/png', 'image/gif', 'image/webp']);

/** Anthropic refuses more breakpoints than this. */
const maxBreakpoints = 4;

/** Writes blocks of content; counts the cache breakpoints of a request. */
export class ContentWriter {
  readonly #losses: Losses;
  #breakpoints = 0;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  cache(part: { readonly cache: Cache; readonly at: string }): JsonObject {
    if (part.cache === null) return {};
    this.#breakpoints += 1;
    if (this.#breakpoints <= maxBreakpoints) return cacheControl(part.cache);
    this.#losses.add(`${part.at}.prompt_cache_breakpoint`);
    return {};
  }

  text(part: TextPart): JsonObject | null {
    // Anthropic refuses empty text, also with a breakpoint behind it.
    return part.text === '' ? null : { type: 'text', text: part.text, ...this.cache(part) };
  }

  media(part: MediaPart): JsonObject | null {
    const { source } = part;
    if (part.detail !== null) this.#losses.add(`${part.at}.detail`);
    const title = part.name === null || part.media === 'image' ? {} : { title: part.name };
    const type = part.media === 'image' ? 'image' : 'document';
    if ((part.media === 'image' || part.media === 'document') && source.kind === 'url' && /^https?:/.test(source.url))
      return { type, source: { type: 'url', url: source.url }, ...title, ...this.cache(part) };
    if (source.kind === 'data' && (imageTypes.has(source.mimeType) || source.mimeType === 'application/pdf')) {
      const inner = { type: 'base64', media_type: source.mimeType, data: source.base64 };
      return { type, source: inner, ...title, ...this.cache(part) };
    }
    if (source.kind === 'data' && source.mimeType.startsWith('text/')) {
      const data = Buffer.from(source.base64, 'base64').toString('utf8');
      return { type, source: { type: 'text', media_type: 'text/plain', data }, ...title, ...this.cache(part) };
    }
    this.#losses.add(part.at);
    return null;
  }

  thinking(part: ThinkingPart): JsonObject | null {
    if (part.signature?.origin === 'anthropic-redacted')
      return { type: 'redacted_thinking', data: part.signature.value };
    if (part.signature?.origin === 'anthropic')
      return { type: 'thinking', thinking: part.text, signature: part.signature.value };
    // Anthropic refuses thoughts that it did not sign.
    this.#losses.add(part.at);
    return null;
  }

  call(part: CallPart): JsonObject {
    if (part.signature !== null) this.#losses.add(`${part.at}.signature`);
    const input = part.custom && part.input.kind === 'text' ? { input: part.input.text } : null;
    return {
      type: 'tool_use',
      id: callIdFor('anthropic', part.id),
      name: part.name,
      input: input ?? argumentObject(part.input, part.at, this.#losses),
      ...this.cache(part),
    };
  }

  result(part: ResultPart): JsonObject {
    const blocks = part.content.map((one) => (one.kind === 'text' ? this.text(one) : this.media(one)));
    const content = blocks.filter((block) => block !== null);
    const [first] = content;
    const isPlain = content.length === 1 && first?.type === 'text' && first.cache_control === undefined;
    const block: JsonDraft = { type: 'tool_result', tool_use_id: callIdFor('anthropic', part.callId) };
    if (content.length > 0) block.content = isPlain ? first.text : content;
    if (part.isError) block.is_error = true;
    return { ...block, ...this.cache(part) };
  }

  block(part: Part): JsonObject | null {
    switch (part.kind) {
      case 'text':
        return this.text(part);
      case 'media':
        return this.media(part);
      case 'thinking':
        return this.thinking(part);
      case 'call':
        return this.call(part);
      case 'result':
        return this.result(part);
      case 'refusal':
        return part.text === '' ? null : { type: 'text', text: part.text };
    }
  }

  /** Blocks of one turn; results come first, as Anthropic demands. */
  blocks(parts: readonly Part[]): JsonObject[] {
    const results = parts.filter((part) => part.kind === 'result');
    const ordered = results.length === 0 ? parts : [...results, ...parts.filter((part) => part.kind !== 'result')];
    return ordered.map((part) => this.block(part)).filter((block) => block !== null);
  }
}
