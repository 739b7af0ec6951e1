import { callArguments } from '../call-arguments.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { mediaOf } from '../media-source.ts';
import type { Cache, MediaPart, MediaSource, Part, ResultPart, Signature, TextPart } from '../neutral.ts';
import { signatureOf } from '../signature.ts';

export const readCacheControl = (block: Members): Cache => {
  const control = block.nested('cache_control');
  if (control === null) return null;
  return control.ttl === '1h' ? 'long' : 'default';
};

const textPart = (text: string, at: string, cache: Cache): TextPart => ({
  kind: 'text',
  text,
  at,
  cache,
  signature: null,
});

const readSource = (block: Members, losses: Losses): MediaSource | null => {
  const value = block.nested('source');
  if (value === null) return null;
  const source = new Members(value, block.path('source'), losses);
  const type = source.text('type');
  if (type === 'base64') {
    const [mimeType, base64] = [source.text('media_type'), source.text('data')];
    return mimeType === null || base64 === null ? null : { kind: 'data', mimeType, base64 };
  }
  if (type === 'url') {
    const url = source.text('url');
    return url === null ? null : { kind: 'url', url, mimeType: null };
  }
  const id = type === 'file' ? source.text('file_id') : null;
  return id === null ? null : { kind: 'file', id };
};

const readMedia = (block: Members, type: 'image' | 'document', cache: Cache, losses: Losses): MediaPart | null => {
  const source = readSource(block, losses);
  if (source === null) {
    losses.add(block.at);
    return null;
  }
  const media = type === 'image' ? 'image' : source.kind === 'data' ? mediaOf(source.mimeType) : 'document';
  const name = type === 'document' ? block.text('title') : null;
  return { kind: 'media', media, source, name, detail: null, at: block.at, cache };
};

/** Documents whose text stands in the request are text to every other provider. */
const readDocument = (block: Members, losses: Losses): Part[] => {
  const cache = readCacheControl(block);
  const source = block.object.source;
  if (isObject(source) && source.type === 'text' && typeof source.data === 'string') {
    block.ignore('source');
    return [textPart(source.data, block.at, cache)];
  }
  if (isObject(source) && source.type === 'content') {
    block.ignore('source');
    return readContent(source.content, `${block.at}.source.content`, losses);
  }
  const media = readMedia(block, 'document', cache, losses);
  return media === null ? [] : [media];
};

const readThinking = (block: Members, losses: Losses): Part => {
  const signature = block.text('signature');
  const signed: Signature | null = signature === null || signature === '' ? null : signatureOf(signature, 'anthropic');
  block.ignore('cache_control');
  if (block.object.cache_control) losses.add(block.path('cache_control'));
  return { kind: 'thinking', text: block.text('thinking') ?? '', signature: signed, at: block.at };
};

const readCall = (block: Members, losses: Losses): Part => {
  const [id, name] = [block.text('id'), block.text('name')];
  if (id === null || name === null) throw losses.invalid(block.at, 'has no id or no name');
  // Who called is only of interest where the provider's own programs call.
  if (isObject(block.object.caller) && block.object.caller.type === 'direct') block.ignore('caller');
  const input = callArguments(block.take('input') ?? {});
  const cache = readCacheControl(block);
  return { kind: 'call', id, name, input, custom: false, signature: null, at: block.at, cache };
};

const readResult = (block: Members, losses: Losses): ResultPart => {
  const callId = block.text('tool_use_id');
  if (callId === null) throw losses.invalid(block.at, 'has no tool_use_id');
  const content: (TextPart | MediaPart)[] = [];
  for (const part of readContent(block.take('content'), block.path('content'), losses)) {
    if (part.kind === 'text' || part.kind === 'media') content.push(part);
    else losses.add(part.at);
  }
  const isError = block.flag('is_error') === true;
  const cache = readCacheControl(block);
  return { kind: 'result', callId, name: null, content, isError, custom: false, at: block.at, cache };
};

const readBlock = (block: Members, losses: Losses): Part[] => {
  switch (block.text('type')) {
    case 'text': {
      const text = block.text('text') ?? '';
      const cache = readCacheControl(block);
      return text === '' && cache === null ? [] : [textPart(text, block.at, cache)];
    }
    case 'image': {
      const media = readMedia(block, 'image', readCacheControl(block), losses);
      return media === null ? [] : [media];
    }
    case 'document':
      return readDocument(block, losses);
    case 'search_result':
      return readContent(block.take('content'), block.path('content'), losses);
    case 'thinking':
      return [readThinking(block, losses)];
    case 'redacted_thinking': {
      const signature = signatureOf(block.text('data') ?? '', 'anthropic-redacted');
      return [{ kind: 'thinking', text: '', signature, at: block.at }];
    }
    case 'tool_use':
      return [readCall(block, losses)];
    case 'tool_result':
      return [readResult(block, losses)];
    default:
      // Tools that Anthropic runs itself, and what they gave: nobody else has them.
      losses.add(block.at);
      block.ignore(...Object.keys(block.object));
      return [];
  }
};

/** The content of a message, an answer or a result: text, or a list of blocks. */
export const readContent = (content: unknown, at: string, losses: Losses): Part[] => {
  if (content === undefined || content === null || content === '') return [];
  if (typeof content === 'string') return [textPart(content, at, null)];
  if (!Array.isArray(content)) throw losses.invalid(at, 'must be text or a list of blocks');
  const parts: Part[] = [];
  for (const [i, value] of content.entries()) {
    if (!isObject(value)) throw losses.invalid(`${at}[${i}]`, 'must be an object');
    const block = new Members(value, `${at}[${i}]`, losses);
    for (const part of readBlock(block, losses)) parts.push(part);
    if (Array.isArray(value.citations) && value.citations.length === 0) block.ignore('citations');
    block.rest();
  }
  return parts;
};
