import type { Estimate, Format, JsonObject, OtherFormat } from './format.ts';
import { isObject } from './json-value.ts';

/** Most tokens of input that any model takes: where nothing tells how long something is, it is this long. */
export const unknownTokens = 1_048_576;

/** What providers put around a conversation, around tools (Anthropic's prompt for them), and around a schema. */
const baseTokens = 64;
const toolTokens = 1_024;
const schemaTokens = 512;

/**
 * Tokens of one picture at the highest resolution. OpenAI counts up to 10,000 patches at up to 1.62 tokens, its
 * `gpt-4o-mini` 5,667 tokens a tile; Anthropic up to 4,784 tokens, Gemini up to 16 tiles of 258.
 * https://platform.openai.com/docs/guides/images-vision#calculating-costs
 */
const imageTokens = (family: string, model: unknown): number => {
  if (family !== 'openai') return 6_000;
  return typeof model === 'string' && model.includes('4o-mini') ? 48_200 : 16_384;
};

/** Bytes of base64 text. */
const decodedBytes = (base64: string): number => Math.ceil((base64.length * 3) / 4);

const capped = (tokens: number): number => Math.min(Math.ceil(tokens), unknownTokens);

/** A page of a few hundred bytes may cost as much as a picture: six tokens a byte cover that. */
const documentTokens = (data: unknown): number =>
  typeof data === 'string' ? capped(decodedBytes(data) * 6 + 6_000) : unknownTokens;

/** 32 tokens a second at Gemini, less at OpenAI; no codec for speech is below 500 bytes a second. */
const audioTokens = (data: unknown): number =>
  typeof data === 'string' ? capped(decodedBytes(data) / 15 + 256) : unknownTokens;

const dataTokens = (mimeType: unknown, data: unknown, image: number): number => {
  const family = typeof mimeType === 'string' ? mimeType : '';
  if (family.startsWith('image/')) return image;
  if (family.startsWith('audio/')) return audioTokens(data);
  return documentTokens(data);
};

const nested = (object: JsonObject, key: string): JsonObject => {
  const value = object[key];
  return isObject(value) ? value : {};
};

/** Tokens of a part that is no text; null for everything else, which is counted by its bytes. */
const mediaTokens = (part: JsonObject, image: number): number | null => {
  switch (part.type) {
    case 'image_url':
    case 'input_image':
      return image;
    case 'input_audio':
      return audioTokens(nested(part, 'input_audio').data);
    case 'file':
      return isObject(part.file) ? documentTokens(part.file.file_data) : null;
    case 'input_file':
      return documentTokens(part.file_data);
    case 'image':
      return isObject(part.source) ? image : null;
    case 'document': {
      const { type, data } = nested(part, 'source');
      if (type === 'base64') return documentTokens(data);
      return type === 'url' || type === 'file' ? unknownTokens : null;
    }
  }
  const inline = part.inlineData ?? part.inline_data;
  if (isObject(inline)) return dataTokens(inline.mimeType ?? inline.mime_type, inline.data, image);
  return isObject(part.fileData ?? part.file_data) ? unknownTokens : null;
};

/**
 * Bytes of all text in a value, names of members included, and the fixed sums of what is no text. Walks with a list of
 * its own, for a body may be nested as deeply as it likes.
 */
const inputTokens = (root: unknown, image: number): number => {
  let total = 0;
  const open: unknown[] = [root];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === 'string') total += Buffer.byteLength(value);
    else if (typeof value === 'number') total += String(value).length;
    else if (Array.isArray(value)) {
      total += 2;
      for (const one of value) open.push(one);
    } else if (isObject(value)) {
      const media = mediaTokens(value, image);
      total += 2;
      if (media !== null) total += media;
      else
        for (const key in value) {
          total += Buffer.byteLength(key) + 4;
          open.push(value[key]);
        }
    } else total += 5;
  }
  return total;
};

/** Members of a request that are conversation, or stand around it. */
const inputMembers: Readonly<Record<string, readonly string[]>> = {
  'openai-chat': ['messages', 'tools', 'functions', 'response_format', 'prediction', 'tool_choice'],
  'openai-responses': ['instructions', 'input', 'tools', 'text', 'tool_choice'],
  anthropic: ['system', 'messages', 'tools', 'output_config', 'output_format', 'tool_choice', 'mcp_servers'],
  gemini: ['systemInstruction', 'system_instruction', 'contents', 'tools', 'generationConfig', 'generation_config'],
  'openai-images': ['prompt', 'image', 'mask'],
  'openai-audio': ['input', 'instructions', 'prompt'],
  'gemini-embed': ['content', 'requests', 'title'],
  'anthropic-count': [],
};

/** Members that stand for a conversation, or a memory, that only the provider has. */
const unseenMembers = [
  'previous_response_id',
  'conversation',
  'prompt',
  'cachedContent',
  'cached_content',
  'container',
];

/** Tools that the provider runs itself bring their results into the input. */
const hasHostedTool = (format: string, tools: unknown): boolean => {
  if (!Array.isArray(tools)) return false;
  return tools.some((tool) => {
    if (!isObject(tool)) return false;
    if (format === 'gemini')
      return Object.keys(tool).some((key) => key !== 'functionDeclarations' && key !== 'function_declarations');
    return typeof tool.type === 'string' && tool.type !== 'function' && tool.type !== 'custom';
  });
};

const positive = (value: unknown): number | null =>
  typeof value === 'number' && value > 0 ? Math.min(Math.ceil(value), 1e9) : null;

/** The cap of the output. A prediction that turns out wrong is paid like output, on top of it. */
const outputCap = (format: string, body: JsonObject): number | null => {
  switch (format) {
    case 'openai-chat': {
      const caps = [positive(body.max_completion_tokens), positive(body.max_tokens)].filter((cap) => cap !== null);
      const predicted = isObject(body.prediction) ? inputTokens(body.prediction, 0) : 0;
      return caps.length === 0 ? null : Math.max(...caps) + predicted;
    }
    case 'openai-responses':
      return positive(body.max_output_tokens);
    case 'anthropic':
      return positive(body.max_tokens);
    case 'gemini': {
      const config = nested(body, isObject(body.generationConfig) ? 'generationConfig' : 'generation_config');
      return positive(config.maxOutputTokens ?? config.max_output_tokens);
    }
    case 'openai-embeddings':
    case 'gemini-embed':
    case 'anthropic-count':
      return 0;
    default:
      return null;
  }
};

const choicesOf = (format: string, body: JsonObject): number => {
  if (format === 'openai-chat' || format === 'openai-images') return positive(body.n) ?? 1;
  if (format !== 'gemini') return 1;
  const config = nested(body, isObject(body.generationConfig) ? 'generationConfig' : 'generation_config');
  return positive(config.candidateCount ?? config.candidate_count) ?? 1;
};

/** Texts, or tokens by their numbers. */
const embeddingTokens = (input: unknown): number => {
  if (typeof input === 'string') return Buffer.byteLength(input) + 8;
  if (!Array.isArray(input)) return 8;
  let total = 8;
  for (const one of input)
    total += typeof one === 'number' ? 1 : Array.isArray(one) ? one.length + 8 : embeddingTokens(one);
  return total;
};

/** Upper bounds of what a request can use. Never throws, whatever the body is. */
export const estimate = (format: Format | OtherFormat, body: JsonObject): Estimate => {
  const maxOutputTokens = outputCap(format, body);
  const choices = choicesOf(format, body);
  if (format === 'openai-embeddings') return { inputTokens: embeddingTokens(body.input), maxOutputTokens, choices };
  const family = format.startsWith('openai') ? 'openai' : format.startsWith('gemini') ? 'gemini' : 'anthropic';
  const image = imageTokens(family, body.model);
  let total = baseTokens;
  for (const name of inputMembers[format] ?? []) if (body[name] !== undefined) total += inputTokens(body[name], image);
  if (body.tools !== undefined || body.functions !== undefined) total += toolTokens;
  if (hasHostedTool(format, body.tools)) total += unknownTokens;
  const shaped = [body.response_format, body.text, body.output_config, body.output_format, body.generationConfig];
  if (shaped.some(isObject)) total += schemaTokens;
  if (format === 'openai-responses' || format === 'gemini' || format === 'anthropic')
    for (const name of unseenMembers) if (body[name] !== undefined && body[name] !== null) total += unknownTokens;
  return { inputTokens: total, maxOutputTokens, choices };
};
