import { type Clock, HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { isTranslatable } from '../doors/endpoint.ts';
import { AwsEventDecoder } from './aws-event-stream.ts';
import { signAws } from './aws-signature.ts';
import { required } from './credentials.ts';
import type { HttpClient } from './http-client.ts';
import { placeOf } from './place.ts';
import type { AnswerBody, Provider, ProviderAnswer, ProviderCall } from './provider.ts';
import type { ProviderConfiguration } from './provider-configuration.ts';

type Bedrock = Extract<ProviderConfiguration, { kind: 'bedrock' }>;

const service = 'bedrock';
/** https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html */
const anthropicVersion = 'bedrock-2023-05-31';
const maxEventBytes = 16_777_216;

const chunkPayload = z.looseObject({ bytes: z.string() });
const typed = z.looseObject({ type: z.string() });

/** Anthropic's body without what Bedrock has in the path, and with what Anthropic has in headers. */
const bodyOf = (call: ProviderCall): string => {
  const text = typeof call.body === 'string' ? call.body : Buffer.from(call.body).toString();
  const { model: _model, stream: _stream, ...rest } = z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  const beta = call.headers['anthropic-beta'];
  return JSON.stringify({
    anthropic_version: anthropicVersion,
    ...(beta === undefined ? {} : { anthropic_beta: beta.split(',').map((name) => name.trim()) }),
    ...rest,
  });
};

const errorEvent = (type: string, message: string): string =>
  `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type, message } })}\n\n`;

/** What the frames carry, as the server-sent events that Anthropic itself sends. */
class BedrockStream implements AnswerBody {
  readonly #body: AnswerBody;
  readonly #decoder = new AwsEventDecoder(maxEventBytes);

  constructor(body: AnswerBody) {
    this.#body = body;
  }

  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const chunk = await this.#body.read();
      if (chunk === null) {
        if (this.#decoder.torn)
          throw new HoldfastError('gateway.stream_broken', 'The event stream of the provider broke off.');
        return null;
      }
      let text = '';
      for (const { headers, payload } of this.#decoder.push(chunk)) {
        const kind = headers[':exception-type'] ?? headers[':error-code'];
        if (kind !== undefined) text += errorEvent(kind, payload.toString().slice(0, 2_000));
        else if (headers[':event-type'] === 'chunk') text += this.#chunk(payload);
      }
      if (text !== '') return Buffer.from(text);
    }
  }

  #chunk(payload: Buffer): string {
    try {
      const data = Buffer.from(chunkPayload.parse(JSON.parse(payload.toString())).bytes, 'base64').toString();
      return `event: ${typed.parse(JSON.parse(data)).type.replace(/\s/g, '')}\ndata: ${data}\n\n`;
    } catch (cause) {
      throw new HoldfastError('gateway.stream_broken', 'An event of the provider cannot be read.', {}, { cause });
    }
  }
}

const asEvents = (answer: ProviderAnswer): ProviderAnswer =>
  answer.status === 200 && answer.headers['content-type']?.startsWith('application/vnd.amazon.eventstream') === true
    ? {
        ...answer,
        headers: { ...answer.headers, 'content-type': 'text/event-stream; charset=utf-8' },
        body: new BedrockStream(answer.body),
      }
    : answer;

/** Claude on Amazon Bedrock, by InvokeModel with Anthropic's body; other formats are translated into that. */
export const bedrockProvider = (config: Bedrock, http: HttpClient, clock: Clock): Provider => {
  const { origin, prefix } = placeOf(config.baseUrl ?? `https://bedrock-runtime.${config.region}.amazonaws.com`);
  const { host } = new URL(origin);
  return {
    name: config.name,
    kind: config.kind,
    priceProvider: config.prices ?? 'aws',
    recorded: false,
    timeoutMs: config.timeoutMs,
    models: config.models ?? null,
    formatFor: (_endpoint, format) => (isTranslatable(format) ? 'anthropic' : null),
    async send(call, signal) {
      const action = call.stream ? 'invoke-with-response-stream' : 'invoke';
      const path = `${prefix}/model/${encodeURIComponent(call.model)}/${action}`;
      const body = bodyOf(call);
      const signed = signAws(
        {
          ...{ method: 'POST', host, path, query: '', body, region: config.region, service },
          headers: { 'content-type': 'application/json' },
          at: new Date(clock.now()),
        },
        {
          accessKeyId: config.accessKeyId,
          secretAccessKey: required(config.secretAccessKey, config.name),
          sessionToken: config.sessionToken?.reveal() ?? null,
        },
      );
      return asEvents(await http.send({ origin, path, method: 'POST', headers: signed, body }, signal));
    },
  };
};
