import { HoldfastError } from '@holdfast/core';
import { readMessagesAnswer } from './anthropic/answer-reader.ts';
import { writeMessagesAnswer } from './anthropic/answer-writer.ts';
import { readMessagesRequest } from './anthropic/request-reader.ts';
import { writeMessagesRequest } from './anthropic/request-writer.ts';
import { MessagesStreamReader } from './anthropic/stream-reader.ts';
import { MessagesStreamWriter } from './anthropic/stream-writer.ts';
import { errorEvent } from './error-answer.ts';
import type { Format, JsonObject, SseEvent, StreamTranslator, Translated } from './format.ts';
import { readGeminiAnswer } from './gemini/answer-reader.ts';
import { writeGeminiAnswer } from './gemini/answer-writer.ts';
import { readGeminiRequest } from './gemini/request-reader.ts';
import { writeGeminiRequest } from './gemini/request-writer.ts';
import { GeminiStreamReader } from './gemini/stream-reader.ts';
import { GeminiStreamWriter } from './gemini/stream-writer.ts';
import { Losses } from './losses.ts';
import type { NeutralAnswer, NeutralRequest } from './neutral.ts';
import { readChatAnswer } from './openai-chat/answer-reader.ts';
import { writeChatAnswer } from './openai-chat/answer-writer.ts';
import { readChatRequest } from './openai-chat/request-reader.ts';
import { writeChatRequest } from './openai-chat/request-writer.ts';
import { ChatStreamReader } from './openai-chat/stream-reader.ts';
import { ChatStreamWriter } from './openai-chat/stream-writer.ts';
import { readResponsesAnswer } from './openai-responses/answer-reader.ts';
import { writeResponsesAnswer } from './openai-responses/answer-writer.ts';
import { readResponsesRequest } from './openai-responses/request-reader.ts';
import { writeResponsesRequest } from './openai-responses/request-writer.ts';
import { ResponsesStreamReader } from './openai-responses/stream-reader.ts';
import { ResponsesStreamWriter } from './openai-responses/stream-writer.ts';
import type { StreamReader, StreamWriter } from './stream-format.ts';

/** What a translation has to know that stands in no document. */
export interface TranslationContext {
  /** Requests: whether to stream. Gemini says it in its URL; without this, what the body says. */
  readonly stream?: boolean;
  /** Streams of chat completions: whether the caller asked for a last chunk with the usage. */
  readonly includeUsage?: boolean;
  /** Answers: the id where the provider gives none, such as the request's. */
  readonly id?: string;
  /** Answers: Unix time in seconds where the provider gives none, as Anthropic and Gemini do. */
  readonly createdSeconds?: number;
}

interface Codec {
  readonly readRequest: (body: JsonObject, losses: Losses) => NeutralRequest;
  readonly writeRequest: (request: NeutralRequest, from: Format, model: string, losses: Losses) => JsonObject;
  readonly readAnswer: (body: JsonObject, losses: Losses) => NeutralAnswer;
  readonly writeAnswer: (answer: NeutralAnswer, losses: Losses) => JsonObject;
}

const codecs: Readonly<Record<Format, Codec>> = {
  'openai-chat': {
    readRequest: readChatRequest,
    writeRequest: writeChatRequest,
    readAnswer: readChatAnswer,
    writeAnswer: writeChatAnswer,
  },
  'openai-responses': {
    readRequest: readResponsesRequest,
    writeRequest: writeResponsesRequest,
    readAnswer: readResponsesAnswer,
    writeAnswer: writeResponsesAnswer,
  },
  anthropic: {
    readRequest: readMessagesRequest,
    writeRequest: writeMessagesRequest,
    readAnswer: readMessagesAnswer,
    writeAnswer: writeMessagesAnswer,
  },
  gemini: {
    readRequest: readGeminiRequest,
    writeRequest: writeGeminiRequest,
    readAnswer: readGeminiAnswer,
    writeAnswer: writeGeminiAnswer,
  },
};

/**
 * A request in another format, for `model` under its provider's own name. A request in the format of its target is not
 * translated but passed through. Throws `request.invalid` when it has no conversation that can be translated.
 */
export const translateRequest = (
  from: Format,
  to: Format,
  body: JsonObject,
  model: string,
  context: TranslationContext = {},
): Translated<JsonObject> => {
  const losses = new Losses('request.invalid');
  const request = codecs[from].readRequest(body, losses);
  if (context.stream !== undefined) request.stream = context.stream;
  const value = codecs[to].writeRequest(request, from, model, losses);
  return { value, dropped: losses.list };
};

/**
 * A whole answer in another format. `model` stands in it when the provider names none. Throws
 * `gateway.provider_failed` when it is no answer of its format.
 */
export const translateResponse = (
  from: Format,
  to: Format,
  body: JsonObject,
  model: string,
  context: TranslationContext = {},
): Translated<JsonObject> => {
  const losses = new Losses('gateway.provider_failed');
  const answer = codecs[from].readAnswer(body, losses);
  const complete: NeutralAnswer = {
    ...answer,
    id: answer.id ?? context.id ?? null,
    model: answer.model ?? model,
    createdSeconds: answer.createdSeconds ?? context.createdSeconds ?? null,
  };
  const value = codecs[to].writeAnswer(complete, losses);
  return { value, dropped: losses.list };
};

const readerOf = (format: Format, losses: Losses): StreamReader => {
  if (format === 'openai-chat') return new ChatStreamReader(losses);
  if (format === 'openai-responses') return new ResponsesStreamReader(losses);
  return format === 'anthropic' ? new MessagesStreamReader(losses) : new GeminiStreamReader(losses);
};

const writerOf = (format: Format, losses: Losses, model: string, context: TranslationContext): StreamWriter => {
  const createdSeconds = context.createdSeconds ?? 0;
  if (format === 'openai-chat') {
    const head = { id: context.id ?? 'chatcmpl-0', model, createdSeconds };
    return new ChatStreamWriter(losses, head, context.includeUsage === true);
  }
  if (format === 'openai-responses')
    return new ResponsesStreamWriter(losses, { id: context.id ?? 'resp_0', model, createdSeconds });
  return format === 'anthropic'
    ? new MessagesStreamWriter(losses, { id: context.id ?? 'msg_0', model })
    : new GeminiStreamWriter(losses, { id: context.id ?? '', model });
};

/** The end of a stream that has none. Only its writer knows the number of the event in a stream of responses. */
const broken = (to: Format, writer: StreamWriter): readonly SseEvent[] => {
  const error = new HoldfastError('gateway.stream_broken', 'The provider ended its answer before it was complete.');
  if (to !== 'openai-responses') return [errorEvent(to, error)];
  const failure = { status: error.kind.status, type: error.code, message: error.message };
  return writer.write({ kind: 'failure', failure });
};

/** A stream in another format; see `StreamTranslator`. `model` stands in it when the provider names none. */
export const streamTranslator = (
  from: Format,
  to: Format,
  model: string,
  context: TranslationContext = {},
): StreamTranslator => {
  const losses = new Losses('gateway.stream_broken');
  const reader = readerOf(from, losses);
  const writer = writerOf(to, losses, model, context);
  let ended = false;
  const write = (events: ReturnType<StreamReader['read']>): SseEvent[] => {
    const out: SseEvent[] = [];
    for (const event of events) {
      if (ended) break;
      ended = event.kind === 'end' || event.kind === 'failure';
      for (const written of writer.write(event)) out.push(written);
    }
    return out;
  };
  return {
    push: (event) => write(reader.read(event)),
    end() {
      const out = ended ? [] : write(reader.end());
      if (!ended) {
        ended = true;
        out.push(...broken(to, writer));
      }
      return out;
    },
    get dropped() {
      return losses.list;
    },
  };
};
