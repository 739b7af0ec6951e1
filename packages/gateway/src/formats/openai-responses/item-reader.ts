import { callArguments } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { audioMimeType, mediaOf, sourceOfUrl } from '../media-source.ts';
import type { MediaPart, MediaSource, Part, TextPart, ThinkingPart, Turn } from '../neutral.ts';
import { readCache } from '../openai/cache-breakpoint.ts';
import { signatureOf } from '../signature.ts';

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);

const media = (kind: MediaPart['media'], source: MediaSource, part: Members, losses: Losses): MediaPart => {
  const detail = part.text('detail');
  return {
    kind: 'media',
    media: source.kind === 'data' ? mediaOf(source.mimeType) : kind,
    source,
    name: part.text('filename'),
    detail: detail === 'auto' ? null : detail,
    at: part.at,
    cache: readCache(part, losses),
  };
};

const readSource = (part: Members, urlKey: string): MediaSource | null => {
  const url = part.text(urlKey);
  const data = part.text('file_data');
  const id = part.text('file_id');
  if (url !== null) return sourceOfUrl(url);
  if (data !== null) return sourceOfUrl(data) ?? { kind: 'data', mimeType: 'application/pdf', base64: data };
  return id === null ? null : { kind: 'file', id };
};

const readAudio = (part: Members, losses: Losses): MediaPart | null => {
  const audio = part.nested('input_audio') ?? {};
  const [data, format] = [textOf(audio.data), textOf(audio.format)];
  if (data === null || format === null) return null;
  return media('audio', { kind: 'data', mimeType: audioMimeType(format), base64: data }, part, losses);
};

/** One part of a message, or of a call's output. */
const readContentPart = (value: unknown, at: string, losses: Losses): Part | null => {
  if (!isObject(value)) {
    losses.add(at);
    return null;
  }
  const part = new Members(value, at, losses);
  const type = part.text('type');
  let read: Part | null = null;
  if (type === 'input_text' || type === 'output_text' || type === 'text')
    read = { kind: 'text', text: part.text('text') ?? '', at, cache: readCache(part, losses), signature: null };
  else if (type === 'refusal') read = { kind: 'refusal', text: part.text('refusal') ?? '', at };
  else if (type === 'input_image' || type === 'input_file') {
    const source = readSource(part, type === 'input_image' ? 'image_url' : 'file_url');
    if (source !== null) read = media(type === 'input_image' ? 'image' : 'document', source, part, losses);
  } else if (type === 'input_audio') read = readAudio(part, losses);
  if (read === null) {
    losses.add(at);
    return null;
  }
  for (const key of ['annotations', 'logprobs'] as const)
    if (Array.isArray(value[key]) && value[key].length === 0) part.ignore(key);
  part.rest();
  return read;
};

export const readContent = (content: unknown, at: string, losses: Losses): Part[] => {
  if (content === undefined || content === null || content === '') return [];
  if (typeof content === 'string') return [{ kind: 'text', text: content, at, cache: null, signature: null }];
  if (!Array.isArray(content)) throw losses.invalid(at, 'must be text or a list of parts');
  return content.map((part, i) => readContentPart(part, `${at}[${i}]`, losses)).filter((part) => part !== null);
};

const joinedTexts = (list: readonly unknown[]): string =>
  list
    .map((one) => (isObject(one) ? textOf(one.text) : null))
    .filter((text) => text !== null)
    .join('\n\n');

/** Thinking of OpenAI, or of another provider in its place: without its token it is only a text to show. */
export const readReasoning = (item: Members): ThinkingPart => {
  const token = item.text('encrypted_content');
  const id = item.text('id') ?? '';
  const summary = joinedTexts(item.list('summary'));
  const text = summary === '' ? joinedTexts(item.list('content')) : summary;
  item.ignore('content', 'status');
  const signature = token === null || token === '' ? null : signatureOf(token, 'openai', id);
  return { kind: 'thinking', text, signature, at: item.at };
};

export const readCall = (item: Members, losses: Losses): Part => {
  const custom = item.text('type') === 'custom_tool_call';
  const [id, name] = [item.text('call_id'), item.text('name')];
  if (id === null || name === null) throw losses.invalid(item.at, 'has no call_id or no name');
  const input = callArguments(item.take(custom ? 'input' : 'arguments'));
  item.ignore('id', 'status');
  if (isObject(item.object.caller) && item.object.caller.type === 'direct') item.ignore('caller');
  return { kind: 'call', id, name, input, custom, signature: null, at: item.at, cache: null };
};

/** Reads the items of an input into turns: what belongs to one answer of the model becomes one turn. */
export class ItemReader {
  readonly #losses: Losses;
  readonly #system: TextPart[];
  readonly #turns: Turn[] = [];

  constructor(system: TextPart[], losses: Losses) {
    this.#system = system;
    this.#losses = losses;
  }

  turns(input: unknown): Turn[] {
    if (typeof input === 'string') {
      const part = { kind: 'text', text: input, at: 'input', cache: null, signature: null } as const;
      return [{ role: 'user', parts: [part], at: 'input' }];
    }
    if (!Array.isArray(input)) throw this.#losses.invalid('input', 'must be text or a list of items');
    for (const [i, value] of input.entries()) {
      if (!isObject(value)) throw this.#losses.invalid(`input[${i}]`, 'must be an object');
      this.#read(value, `input[${i}]`);
    }
    return this.#turns;
  }

  #read(value: JsonObject, at: string): void {
    const item = new Members(value, at, this.#losses);
    const type = value.type ?? 'message';
    if (type === 'message') this.#message(item);
    else if (type === 'function_call' || type === 'custom_tool_call')
      this.#append('assistant', readCall(item, this.#losses));
    else if (type === 'function_call_output' || type === 'custom_tool_call_output') this.#output(item);
    else if (type === 'reasoning') this.#append('assistant', readReasoning(item));
    else if (type === 'item_reference')
      throw this.#losses.invalid(
        at,
        'refers to an item that only OpenAI keeps: send the item itself, with store set to false',
      );
    else {
      // Calls of tools that OpenAI runs itself, and what they gave.
      this.#losses.add(at);
      return;
    }
    item.ignore('type');
    item.rest();
  }

  #message(item: Members): void {
    const role = item.text('role');
    const parts = readContent(item.take('content'), item.path('content'), this.#losses);
    item.ignore('id', 'status', 'phase');
    if (role === 'system' || role === 'developer') {
      if (this.#turns.length > 0) this.#losses.add(item.path('role'));
      for (const part of parts) {
        if (part.kind === 'text') this.#system.push(part);
        else this.#losses.add(part.at);
      }
    } else if (role === 'user') this.#turns.push({ role, parts, at: item.at });
    else if (role === 'assistant') {
      if (parts.length > 0) this.#append(role, ...parts);
    } else throw this.#losses.invalid(item.path('role'), 'is no role that can be translated');
  }

  #output(item: Members): void {
    const callId = item.text('call_id');
    if (callId === null) throw this.#losses.invalid(item.at, 'has no call_id');
    const custom = item.text('type') === 'custom_tool_call_output';
    const content: (TextPart | MediaPart)[] = [];
    for (const part of readContent(item.take('output'), item.path('output'), this.#losses)) {
      if (part.kind === 'text' || part.kind === 'media') content.push(part);
      else this.#losses.add(part.at);
    }
    const name = item.text('name');
    item.ignore('id', 'status');
    const result: Part = { kind: 'result', callId, name, content, isError: false, custom, at: item.at, cache: null };
    const last = this.#turns.at(-1);
    if (last?.role === 'user' && last.parts.at(-1)?.kind === 'result') last.parts.push(result);
    else this.#turns.push({ role: 'user', parts: [result], at: item.at });
  }

  #append(role: 'assistant', ...parts: readonly Part[]): void {
    const last = this.#turns.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else this.#turns.push({ role, parts: [...parts], at: parts[0]?.at ?? 'input' });
  }
}
