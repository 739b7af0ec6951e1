import { callArguments } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import { isObject, Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { audioMimeType, mediaOf, sourceOfUrl } from '../media-source.ts';
import type {
  Cache,
  CallPart,
  MediaPart,
  NeutralRequest,
  Options,
  Part,
  ResultPart,
  Signature,
  TextPart,
  Turn,
} from '../neutral.ts';
import { readCache } from '../openai/cache-breakpoint.ts';
import { readSchemaFormat } from '../openai/output-format.ts';
import { readToolChoice } from '../openai/tool-choice.ts';
import { readTool } from '../openai/tools.ts';
import { readNumbers } from '../option-names.ts';
import { isEffort } from '../thinking-effort.ts';
import { thoughtSignatureOf, thoughtsOf } from './thoughts.ts';

const textPart = (text: string, at: string, cache: Cache = null): TextPart => ({
  kind: 'text',
  text,
  at,
  cache,
  signature: null,
});

const readImage = (part: Members, losses: Losses): MediaPart | null => {
  const cache = readCache(part, losses);
  const image = part.nested('image_url');
  const url = image === null ? null : image.url;
  const source = typeof url === 'string' ? sourceOfUrl(url) : null;
  if (image === null || source === null) {
    losses.add(part.path('image_url'));
    return null;
  }
  const detail = typeof image.detail === 'string' && image.detail !== 'auto' ? image.detail : null;
  const media = source.kind === 'data' ? mediaOf(source.mimeType) : 'image';
  return { kind: 'media', media, source, name: null, detail, at: part.at, cache };
};

const readFile = (part: Members, losses: Losses): MediaPart | null => {
  const cache = readCache(part, losses);
  const file = part.nested('file') ?? {};
  const name = typeof file.filename === 'string' ? file.filename : null;
  const data = typeof file.file_data === 'string' ? sourceOfUrl(file.file_data) : null;
  const id = typeof file.file_id === 'string' ? file.file_id : null;
  const source = data ?? (id === null ? null : ({ kind: 'file', id } as const));
  if (source === null) {
    losses.add(part.path('file'));
    return null;
  }
  const media = source.kind === 'data' ? mediaOf(source.mimeType) : 'document';
  return { kind: 'media', media, source, name, detail: null, at: part.at, cache };
};

const readAudio = (part: Members, losses: Losses): MediaPart | null => {
  const cache = readCache(part, losses);
  const { data, format } = part.nested('input_audio') ?? {};
  if (typeof data !== 'string' || typeof format !== 'string') {
    losses.add(part.path('input_audio'));
    return null;
  }
  const source = { kind: 'data', mimeType: audioMimeType(format), base64: data } as const;
  return { kind: 'media', media: 'audio', source, name: null, detail: null, at: part.at, cache };
};

const readContentPart = (value: unknown, at: string, losses: Losses): Part | null => {
  if (!isObject(value)) {
    losses.add(at);
    return null;
  }
  const part = new Members(value, at, losses);
  const type = part.text('type');
  let read: Part | null;
  if (type === 'text') read = textPart(part.text('text') ?? '', at, readCache(part, losses));
  else if (type === 'image_url') read = readImage(part, losses);
  else if (type === 'file') read = readFile(part, losses);
  else if (type === 'input_audio') read = readAudio(part, losses);
  else if (type === 'refusal') read = { kind: 'refusal', text: part.text('refusal') ?? '', at };
  else {
    losses.add(at);
    return null;
  }
  part.rest();
  return read;
};

const readContent = (message: Members, losses: Losses): Part[] => {
  const content = message.take('content');
  const at = message.path('content');
  if (content === undefined || content === null) return [];
  if (typeof content === 'string') return content === '' ? [] : [textPart(content, at)];
  if (!Array.isArray(content)) throw losses.invalid(at, 'must be text or a list of parts');
  return content.map((part, i) => readContentPart(part, `${at}[${i}]`, losses)).filter((part) => part !== null);
};

const onlyText = (parts: readonly Part[], losses: Losses): TextPart[] => {
  const texts: TextPart[] = [];
  for (const part of parts) {
    if (part.kind === 'text') texts.push(part);
    else losses.add(part.at);
  }
  return texts;
};

const readCall = (value: unknown, at: string, losses: Losses): CallPart | null => {
  if (!isObject(value)) {
    losses.add(at);
    return null;
  }
  const call = new Members(value, at, losses);
  call.ignore('index');
  const custom = call.text('type') === 'custom';
  const inner = call.nested(custom ? 'custom' : 'function');
  const id = call.text('id');
  if (inner === null || typeof inner.name !== 'string') throw losses.invalid(at, 'has no name of a tool');
  const signature: Signature | null = thoughtSignatureOf(call.take('extra_content'));
  call.rest();
  const input = callArguments(custom ? inner.input : inner.arguments);
  return { kind: 'call', id: id ?? '', name: inner.name, input, custom, signature, at, cache: null };
};

const readAssistant = (message: Members, losses: Losses): Turn => {
  const parts: Part[] = thoughtsOf(message, losses);
  parts.push(...readContent(message, losses));
  const refusal = message.text('refusal');
  if (refusal !== null) parts.push({ kind: 'refusal', text: refusal, at: message.path('refusal') });
  const at = message.path('tool_calls');
  for (const [i, value] of message.list('tool_calls').entries()) {
    const call = readCall(value, `${at}[${i}]`, losses);
    if (call !== null) parts.push(call);
  }
  return { role: 'assistant', parts, at: message.at };
};

const readResult = (message: Members, customCalls: ReadonlySet<string>, losses: Losses): ResultPart => {
  const callId = message.text('tool_call_id');
  if (callId === null) throw losses.invalid(message.at, 'has no tool_call_id');
  const content: (TextPart | MediaPart)[] = [];
  for (const part of readContent(message, losses)) {
    if (part.kind === 'text' || part.kind === 'media') content.push(part);
    else losses.add(part.at);
  }
  const custom = customCalls.has(callId);
  return {
    kind: 'result',
    callId,
    name: message.text('name'),
    content,
    isError: false,
    custom,
    at: message.at,
    cache: null,
  };
};

/** The conversation; instructions that stand before its first turn, or in its midst, become `system`. */
const readMessages = (body: Members, system: TextPart[], losses: Losses): Turn[] => {
  const turns: Turn[] = [];
  const customCalls = new Set<string>();
  const messages = body.take('messages');
  if (!Array.isArray(messages)) throw losses.invalid('messages', 'must be a list');
  for (const [i, value] of messages.entries()) {
    const at = `messages[${i}]`;
    if (!isObject(value)) throw losses.invalid(at, 'must be an object');
    const message = new Members(value, at, losses);
    const role = message.text('role');
    if (role === 'system' || role === 'developer') {
      // No other format has instructions in the midst of a conversation: they move to its beginning.
      if (turns.length > 0) losses.add(message.path('role'));
      system.push(...onlyText(readContent(message, losses), losses));
    } else if (role === 'user') turns.push({ role, parts: readContent(message, losses), at });
    else if (role === 'assistant') {
      const turn = readAssistant(message, losses);
      for (const part of turn.parts) if (part.kind === 'call' && part.custom) customCalls.add(part.id);
      turns.push(turn);
    } else if (role === 'tool') {
      const result = readResult(message, customCalls, losses);
      const last = turns.at(-1);
      // Results of parallel calls belong to one turn.
      if (last?.role === 'user' && last.parts.at(-1)?.kind === 'result') last.parts.push(result);
      else turns.push({ role: 'user', parts: [result], at });
    } else throw losses.invalid(`${at}.role`, 'is no role that can be translated');
    message.rest();
  }
  return turns;
};

const readStop = (body: Members, losses: Losses): string[] => {
  const value = body.take('stop');
  const list: unknown[] = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];
  return list.filter((one) => {
    if (typeof one !== 'string') losses.add('stop');
    return typeof one === 'string';
  });
};

const readOptions = (body: Members): Options => {
  const options: Options = {};
  readNumbers('openai-chat', body, options);
  const cap = body.number('max_tokens');
  if (cap !== null && options.maxOutputTokens === undefined) options.maxOutputTokens = cap;
  const logprobs = body.flag('logprobs');
  if (logprobs !== null) options.logprobs = logprobs;
  const parallel = body.flag('parallel_tool_calls');
  if (parallel !== null) options.parallelCalls = parallel;
  const user = body.text('user') ?? body.text('safety_identifier');
  if (user !== null) options.user = user;
  const tier = body.text('service_tier');
  if (tier !== null) options.serviceTier = tier;
  const verbosity = body.text('verbosity');
  if (verbosity !== null) options.verbosity = verbosity;
  const cacheKey = body.text('prompt_cache_key');
  if (cacheKey !== null) options.cacheKey = cacheKey;
  const metadata = body.nested('metadata');
  if (metadata !== null) options.metadata = metadata;
  return options;
};

const readFormat = (body: Members, losses: Losses): NeutralRequest['output'] => {
  const format = body.nested('response_format');
  const at = 'response_format';
  if (format === null || format.type === 'text') return null;
  if (format.type === 'json_object') return { kind: 'json', at };
  const inner = format.json_schema;
  if (format.type !== 'json_schema' || !isObject(inner)) {
    losses.add(at);
    return null;
  }
  return readSchemaFormat(inner, `${at}.json_schema`, losses);
};

/** Reads a body of `/v1/chat/completions`. Throws the error of `losses` when it has no conversation. */
export const readChatRequest = (object: JsonObject, losses: Losses): NeutralRequest => {
  const body = new Members(object, '', losses);
  const system: TextPart[] = [];
  const turns = readMessages(body, system, losses);
  const effort = body.take('reasoning_effort');
  if (effort !== undefined && effort !== null && !isEffort(effort)) losses.add('reasoning_effort');
  const thinking = isEffort(effort) ? { effort, budgetTokens: null, visible: null, at: 'reasoning_effort' } : null;
  const tools = body.list('tools').map((tool, i) => readTool(tool, `tools[${i}]`, losses));
  const request: NeutralRequest = {
    system,
    turns,
    tools: tools.filter((tool) => tool !== null),
    options: readOptions(body),
    stop: readStop(body, losses),
    toolChoice: readToolChoice(body, losses),
    output: readFormat(body, losses),
    thinking,
    stream: body.flag('stream') === true,
  };
  if (object.store !== true) body.ignore('store');
  const modalities = object.modalities;
  if (Array.isArray(modalities) && modalities.every((one) => one === 'text')) body.ignore('modalities');
  // What the stream tells besides is the gateway's business, not the provider's.
  body.ignore('model', 'stream_options');
  body.rest();
  return request;
};
