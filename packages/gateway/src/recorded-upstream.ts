import { type Clock, HoldfastError } from '@holdfast/core';
import type { ChatRequest } from './chat-request.ts';
import type { ProviderConfiguration } from './configuration.ts';
import { loadRecordings, type RecordedReply, type Recording } from './recording.ts';
import type { Upstream } from './upstream.ts';

type RecordedConfiguration = Extract<ProviderConfiguration, { kind: 'recorded' }>;
type RecordedStream = NonNullable<RecordedReply['stream']>;

const left = (recording: Recording, request: ChatRequest, problem: string): HoldfastError =>
  new HoldfastError(
    'gateway.recording_exhausted',
    `The conversation left the recording ${recording.name}: ${problem}`,
    {
      recording: recording.name,
      turn: request.assistantTurns + 1,
      replies: recording.replies.length,
    },
  );

/** The reply to this point of the conversation. What tools answered may differ from the recording: it is live. */
const replyTo = (recording: Recording, request: ChatRequest): RecordedReply => {
  const turn = request.assistantTurns + 1;
  const reply = recording.replies[request.assistantTurns];
  if (reply === undefined)
    throw left(recording, request, `it has ${recording.replies.length} replies, and this asks for number ${turn}.`);
  if (reply.after !== undefined && reply.after.role !== request.lastRole)
    throw left(
      recording,
      request,
      `reply ${turn} follows a ${reply.after.role} message, and this one is ${request.lastRole ?? 'missing'}.`,
    );
  return reply;
};

const replay = (
  stream: RecordedStream,
  pace: number,
  clock: Clock,
  signal: AbortSignal,
): ReadableStream<Uint8Array> => {
  const events = stream.events.values();
  const encoder = new TextEncoder();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = events.next();
        if (done === true) {
          controller.close();
          return;
        }
        const waitMs = value.afterMs * pace;
        if (waitMs > 0) await clock.sleep(waitMs, signal);
        controller.enqueue(encoder.encode(`${value.lines.join('\n')}\n\n`));
      },
    },
    { highWaterMark: 0 },
  );
};

/**
 * A provider that replays recordings in the wire format they were taken in: the model's name picks one, the number of
 * assistant messages so far picks the reply.
 */
export const recordedUpstream = async (config: RecordedConfiguration, clock: Clock): Promise<Upstream> => {
  const recordings = await loadRecordings(config.baseUrl);
  return {
    name: config.name,
    recorded: true,
    timeoutMs: config.timeoutMs,
    models: [...recordings.keys()],
    async chat({ request, model }, signal) {
      const recording = recordings.get(model.startsWith('recorded/') ? model.slice('recorded/'.length) : model);
      if (recording === undefined)
        throw new HoldfastError('gateway.model_not_found', `There is no recording for the model ${model}.`, { model });
      const reply = replyTo(recording, request);
      if (request.stream) {
        if (reply.stream === undefined) throw left(recording, request, 'this reply was not recorded as a stream.');
        return new Response(replay(reply.stream, config.pace, clock, signal), {
          status: reply.stream.status,
          headers: { 'content-type': 'text/event-stream; charset=utf-8', ...reply.stream.headers },
        });
      }
      if (reply.whole === undefined) throw left(recording, request, 'this reply was recorded as a stream only.');
      const { body } = reply.whole;
      return new Response(typeof body === 'string' ? body : JSON.stringify(body), {
        status: reply.whole.status,
        headers: { 'content-type': 'application/json', ...reply.whole.headers },
      });
    },
  };
};
