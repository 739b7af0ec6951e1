import { isTranslatable, type WireFormat } from '../doors/endpoint.ts';
import type { Format, JsonObject } from '../formats/format.ts';
import type { OtherUsage } from '../prices/price-table.ts';

/** The format whose way to tell usage this one shares. */
export const usageFormat = (format: WireFormat): Format | null => {
  if (isTranslatable(format)) return format;
  if (format === 'openai-embeddings') return 'openai-chat';
  // Images and transcriptions tell `input_tokens` and `output_tokens`, as the responses API does.
  if (format === 'openai-images' || format === 'openai-audio') return 'openai-responses';
  return format === 'gemini-embed' ? 'gemini' : null;
};

const lengthOf = (value: unknown): number => (typeof value === 'string' ? value.length : 0);

const positive = (value: unknown, most: number): number =>
  typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.min(value, most) : 0;

const maxImages = 100;
const maxAudioSeconds = 86_400;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Bytes of a second of audio in the poorest quality that is common: what a file of unknown length lasts at most. */
const leastAudioBytesPerSecond = 1_000;

/** What a call asks for beside tokens, at most. */
export const askedOther = (format: WireFormat, request: JsonObject): OtherUsage => {
  if (format === 'openai-images') return { images: Math.ceil(positive(Number(request.n ?? 1), maxImages)) || 1 };
  if (format !== 'openai-audio') return {};
  if (typeof request.input === 'string') return { characters: lengthOf(request.input) };
  const { file } = request;
  const bytes = isObject(file) ? positive(file.fileBytes, Number.MAX_SAFE_INTEGER) : 0;
  return { audioSeconds: Math.min(maxAudioSeconds, Math.ceil(bytes / leastAudioBytesPerSecond)) };
};

/** What an answer used beside tokens. */
export const usedOther = (format: WireFormat, request: JsonObject, answer: JsonObject | null): OtherUsage => {
  if (format === 'openai-images') {
    const data = answer?.data;
    return { images: Array.isArray(data) ? data.length : (askedOther(format, request).images ?? 0) };
  }
  if (format !== 'openai-audio') return {};
  if (typeof request.input === 'string') return { characters: lengthOf(request.input) };
  const usage = answer?.usage;
  const told = isObject(usage) ? positive(usage.seconds, maxAudioSeconds) : 0;
  const seconds = told > 0 ? told : positive(answer?.duration, maxAudioSeconds);
  // Tokens were told in its place, or nothing was: then the upper bound stands.
  if (isObject(usage) && seconds === 0) return {};
  return { audioSeconds: seconds > 0 ? Math.ceil(seconds) : (askedOther(format, request).audioSeconds ?? 0) };
};
