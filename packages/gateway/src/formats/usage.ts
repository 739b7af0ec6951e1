import type { Format, JsonObject, OtherFormat, SseEvent, Usage, UsageReader } from './format.ts';
import { isObject, parsedObject } from './json-value.ts';
import { statusOfErrorType, streamFailureOf } from './stream-failure.ts';
import { anthropicUsage, readUsage } from './token-counts.ts';

const textIn = (object: JsonObject, key: string): string | null => {
  const value = object[key];
  return typeof value === 'string' && value !== '' ? value : null;
};

const nested = (object: JsonObject, key: string): JsonObject => {
  const value = object[key];
  return isObject(value) ? value : {};
};

const isFilled = (value: unknown): boolean =>
  typeof value === 'string' ? value !== '' : Array.isArray(value) ? value.length > 0 : isObject(value);

interface Failure {
  readonly status: number | null;
  readonly message: string;
}

/**
 * What all readers share. Most events of a stream are content: once there was some, an event is only parsed when
 * `#matters` finds a word in it that tells more. A word in quotes cannot be inside a JSON string, where its quotes
 * would be escaped.
 */
abstract class Reader implements UsageReader {
  usage: Usage | null = null;
  hasContent = false;
  finished = false;
  responseModel: string | null = null;
  error: Failure | null = null;

  push(event: SseEvent): void {
    const { data } = event;
    if (data === '' || (this.hasContent && !this.matters(event))) return;
    const body = parsedObject(data);
    if (body === null) {
      if (data === '[DONE]') this.finished = true;
      return;
    }
    this.read(body, event.event);
  }

  protected abstract matters(event: SseEvent): boolean;
  protected abstract read(body: JsonObject, name: string | null): void;

  protected fail(failure: Failure): void {
    this.error = { status: failure.status, message: failure.message };
    this.finished = true;
  }
}

class ChatReader extends Reader {
  readonly #open = new Set<unknown>();
  #stopped = 0;

  protected override matters({ data }: SseEvent): boolean {
    if (data === '[DONE]' || data.includes('"error"')) return true;
    if (data.includes('"usage"') && !/"usage"\s*:\s*null/.test(data)) return true;
    return data.includes('"finish_reason"') && !/"finish_reason"\s*:\s*null/.test(data);
  }

  protected override read(body: JsonObject): void {
    const failure = streamFailureOf(body);
    if (failure !== null) {
      this.fail(failure);
      return;
    }
    this.responseModel ??= textIn(body, 'model');
    this.usage = readUsage('openai-chat', body.usage) ?? this.usage;
    const choices: unknown[] = Array.isArray(body.choices) ? body.choices : [];
    for (const choice of choices) if (isObject(choice)) this.#choice(choice);
  }

  #choice(choice: JsonObject): void {
    const delta = nested(choice, 'delta');
    for (const key in delta) if (key !== 'role' && isFilled(delta[key])) this.hasContent = true;
    if (this.#open.size < 128) this.#open.add(choice.index);
    if (typeof choice.finish_reason === 'string') this.#stopped += 1;
    // Compatible servers leave the closing line out.
    if (this.#stopped >= this.#open.size) this.finished = true;
  }
}

const responsesEnds = new Set(['response.completed', 'response.incomplete', 'response.failed', 'response.cancelled']);

class ResponsesReader extends Reader {
  protected override matters({ event, data }: SseEvent): boolean {
    if (event !== null) return event === 'error' || responsesEnds.has(event);
    return /"type"\s*:\s*"(error|response\.(completed|incomplete|failed|cancelled))"/.test(data);
  }

  protected override read(body: JsonObject, name: string | null): void {
    const type = textIn(body, 'type') ?? name ?? '';
    const response = nested(body, 'response');
    this.responseModel ??= textIn(response, 'model');
    if (type === 'error' || type === 'response.failed') {
      const code = textIn(body, 'code');
      const message = textIn(body, 'message') ?? 'The provider reported an error.';
      const holder = type === 'error' ? body : response;
      this.fail(streamFailureOf(holder) ?? { status: statusOfErrorType(code), message: message.slice(0, 2_000) });
    } else if (responsesEnds.has(type)) this.finished = true;
    else if (type.endsWith('.delta') && isFilled(body.delta)) this.hasContent = true;
    else if (type === 'response.output_item.added' && nested(body, 'item').type !== 'message') this.hasContent = true;
    this.usage = readUsage('openai-responses', response.usage) ?? this.usage;
  }
}

class AnthropicReader extends Reader {
  protected override matters({ event, data }: SseEvent): boolean {
    if (event !== null) return event !== 'content_block_delta' && event !== 'ping';
    return !/"type"\s*:\s*"(content_block_delta|ping)"/.test(data);
  }

  protected override read(body: JsonObject, name: string | null): void {
    const type = textIn(body, 'type') ?? name;
    if (type === 'message_start') {
      const message = nested(body, 'message');
      this.responseModel = textIn(message, 'model');
      if (isObject(message.usage)) this.usage = anthropicUsage(message.usage);
    } else if (type === 'message_delta') {
      if (isObject(body.usage)) this.usage = anthropicUsage(body.usage, this.usage ?? undefined);
    } else if (type === 'content_block_delta') this.hasContent = true;
    else if (type === 'content_block_start') {
      const block = textIn(nested(body, 'content_block'), 'type');
      // Text and thoughts begin empty; anything else says something from the start.
      if (block !== 'text' && block !== 'thinking') this.hasContent = true;
    } else if (type === 'message_stop') this.finished = true;
    else if (type === 'error')
      this.fail(streamFailureOf(body) ?? { status: null, message: 'The provider reported an error.' });
  }
}

class GeminiReader extends Reader {
  protected override matters({ data }: SseEvent): boolean {
    return /"(usageMetadata|finishReason|promptFeedback|error)"/.test(data);
  }

  protected override read(body: JsonObject): void {
    const failure = streamFailureOf(body);
    if (failure !== null) {
      this.fail(failure);
      return;
    }
    this.responseModel ??= textIn(body, 'modelVersion');
    this.usage = readUsage('gemini', body.usageMetadata) ?? this.usage;
    if (typeof nested(body, 'promptFeedback').blockReason === 'string') this.finished = true;
    const candidates: unknown[] = Array.isArray(body.candidates) ? body.candidates : [];
    for (const candidate of candidates) {
      if (!isObject(candidate)) continue;
      if (typeof candidate.finishReason === 'string') this.finished = true;
      const { parts } = nested(candidate, 'content');
      if (Array.isArray(parts) && parts.some((part) => isObject(part) && part.text !== '')) this.hasContent = true;
    }
  }
}

/** Reads the usage of one stream in passing. */
export const usageReader = (format: Format): UsageReader => {
  if (format === 'openai-chat') return new ChatReader();
  if (format === 'openai-responses') return new ResponsesReader();
  return format === 'anthropic' ? new AnthropicReader() : new GeminiReader();
};

/** Tokens that an answer of Gemini's embeddings says, which for a long time said none. */
const embedUsage = (body: JsonObject): Usage | null => {
  const metadata = nested(body, 'usageMetadata');
  return typeof metadata.promptTokenCount === 'number' ? readUsage('gemini', metadata) : null;
};

/** Usage and model of a whole answer. Never throws: what is not there is null. */
export const usageOf = (
  format: Format | OtherFormat,
  body: JsonObject,
): { readonly usage: Usage | null; readonly responseModel: string | null } => {
  const responseModel = textIn(body, 'model') ?? textIn(body, 'modelVersion');
  switch (format) {
    case 'openai-chat':
    case 'openai-embeddings':
      return { usage: readUsage('openai-chat', body.usage), responseModel };
    case 'openai-responses':
    case 'openai-images':
    case 'openai-audio':
      return { usage: readUsage('openai-responses', body.usage), responseModel };
    case 'anthropic':
      return { usage: readUsage('anthropic', body.usage), responseModel };
    case 'gemini':
      return { usage: readUsage('gemini', body.usageMetadata), responseModel };
    case 'gemini-embed':
      return { usage: embedUsage(body), responseModel };
    case 'anthropic-count':
      // Counting is free.
      return { usage: null, responseModel };
  }
};
