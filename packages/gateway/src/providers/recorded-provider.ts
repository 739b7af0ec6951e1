import { type Clock, HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { isTranslatable } from '../doors/endpoint.ts';
import type { AnswerBody, Provider, ProviderAnswer } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';
import { loadRecordings, type RecordedReply, type Recording } from './recording.ts';

type RecordedConfiguration = Extract<ProviderConfiguration, { kind: 'recorded' }>;
type RecordedStream = NonNullable<RecordedReply['stream']>;

/** Where a conversation stands. */
interface Position {
  readonly assistantTurns: number;
  readonly lastRole: string | null;
}

const conversation = z.looseObject({ messages: z.array(z.looseObject({ role: z.string().optional() })) });

const positionOf = (body: string | Uint8Array): Position => {
  const text = typeof body === 'string' ? body : Buffer.from(body).toString();
  const { messages } = conversation.parse(JSON.parse(text));
  return {
    assistantTurns: messages.filter((m) => m.role === 'assistant').length,
    lastRole: messages.at(-1)?.role ?? null,
  };
};

const left = (recording: Recording, { assistantTurns }: Position, problem: string): HoldfastError =>
  new HoldfastError(
    'gateway.recording_exhausted',
    `The conversation left the recording ${recording.name}: ${problem}`,
    { recording: recording.name, turn: assistantTurns + 1, replies: recording.replies.length },
  );

/** The reply to this point of the conversation. What tools answered may differ from the recording: it is live. */
const replyTo = (recording: Recording, position: Position): RecordedReply => {
  const turn = position.assistantTurns + 1;
  const reply = recording.replies[position.assistantTurns];
  if (reply === undefined)
    throw left(recording, position, `it has ${recording.replies.length} replies, and this asks for number ${turn}.`);
  if (reply.after !== undefined && reply.after.role !== position.lastRole)
    throw left(
      recording,
      position,
      `reply ${turn} follows a ${reply.after.role} message, and this one is ${position.lastRole ?? 'missing'}.`,
    );
  return reply;
};

const replay = (stream: RecordedStream, pace: number, clock: Clock, signal: AbortSignal): AnswerBody => {
  const events = stream.events.values();
  return {
    async read() {
      const { value, done } = events.next();
      if (done === true) return null;
      const waitMs = value.afterMs * pace;
      if (waitMs > 0) await clock.sleep(waitMs, signal);
      signal.throwIfAborted();
      return Buffer.from(`${value.lines.join('\n')}\n\n`);
    },
  };
};

const wholeBody = (text: string): AnswerBody => {
  let rest: Uint8Array | null = Buffer.from(text);
  return {
    read() {
      const bytes = rest;
      rest = null;
      return Promise.resolve(bytes);
    },
  };
};

/**
 * A provider that replays recordings in the wire format they were taken in, OpenAI's chat completions: the model's name
 * picks one, the number of assistant messages so far picks the reply. Errors: `gateway.recording_invalid`.
 */
export const recordedProvider = async (config: RecordedConfiguration, clock: Clock): Promise<Provider> => {
  const recordings = await loadRecordings(config.baseUrl);
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: 'openai',
    recorded: true,
    timeoutMs: config.timeoutMs,
    models: [...recordings.keys()],
    formatFor: (_endpoint, format) => (isTranslatable(format) ? 'openai-chat' : null),
    async send({ body, model, stream }, signal): Promise<ProviderAnswer> {
      const recording = recordings.get(model.startsWith('recorded/') ? model.slice('recorded/'.length) : model);
      if (recording === undefined)
        throw new HoldfastError('gateway.model_not_found', `There is no recording for the model ${model}.`, { model });
      const position = positionOf(body);
      const reply = replyTo(recording, position);
      if (stream) {
        if (reply.stream === undefined) throw left(recording, position, 'this reply was not recorded as a stream.');
        return {
          status: reply.stream.status,
          headers: { 'content-type': 'text/event-stream; charset=utf-8', ...reply.stream.headers },
          body: replay(reply.stream, config.pace, clock, signal),
        };
      }
      if (reply.whole === undefined) throw left(recording, position, 'this reply was recorded as a stream only.');
      const { body: answer, status, headers } = reply.whole;
      return {
        status,
        headers: { 'content-type': 'application/json', ...headers },
        body: wholeBody(typeof answer === 'string' ? answer : JSON.stringify(answer)),
      };
    },
  };
};
