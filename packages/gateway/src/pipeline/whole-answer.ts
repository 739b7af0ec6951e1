import { HoldfastError } from '@holdfast/core';
import { isTranslatable, type WireFormat } from '../doors/endpoint.ts';
import { errorAnswer } from '../formats/error-answer.ts';
import type { JsonObject } from '../formats/format.ts';
import { translateResponse } from '../formats/translate.ts';
import { usageOf } from '../formats/usage.ts';
import type { ProviderAnswer } from '../providers/provider.ts';
import { usageFormat, usedOther } from './answer-facts.ts';
import { outcomeOfAnswer } from './outcomes.ts';
import { failureOfContent, messageOf } from './provider-failure.ts';
import type { TryContext } from './try-context.ts';

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const objectOf = (body: Buffer): JsonObject | null => {
  try {
    const json: unknown = JSON.parse(body.toString('utf8'));
    return isObject(json) ? json : null;
  } catch {
    return null;
  }
};

interface Told {
  readonly body: Buffer | string;
  readonly contentType: string;
  readonly dropped: readonly string[];
}

const json = 'application/json';

/** A refusal of a provider in the words of another format. */
const refusal = (context: TryContext, head: ProviderAnswer, body: Buffer): Told => {
  const { request, requestId } = context.input;
  const { name } = context.target.provider;
  const message = messageOf(body) ?? `${name} answered ${head.status}.`;
  const details = { provider: name, providerStatus: head.status };
  const error = new HoldfastError('gateway.request_rejected', message, details);
  const told = errorAnswer(request.door.family, error, requestId).body;
  return { body: JSON.stringify(told), contentType: json, dropped: [] };
};

/** As it came when the caller speaks its format, else translated. */
const toldOf = (
  context: TryContext,
  format: WireFormat,
  head: ProviderAnswer,
  body: Buffer,
  document: JsonObject | null,
): Told => {
  const { door, model } = context.input.request;
  const createdSeconds = Math.floor(context.services.clock.now() / 1_000);
  if (format === door.format || !isTranslatable(format) || !isTranslatable(door.format))
    return { body, contentType: head.headers['content-type'] ?? json, dropped: [] };
  if (document === null) return refusal(context, head, body);
  const { value, dropped } = translateResponse(format, door.format, document, model, {
    ...{ id: context.input.requestId, createdSeconds },
  });
  return { body: JSON.stringify(value), contentType: json, dropped };
};

/**
 * Passes a whole answer on, which may be a refusal of the request. Throws an `AttemptFailure` for what is no answer of a
 * model. True when the call succeeded.
 */
export const passWhole = (
  context: TryContext,
  format: WireFormat,
  head: ProviderAnswer,
  body: Buffer,
  dropped: readonly string[],
): boolean => {
  const { request, sink } = context.input;
  const isOk = head.status < 300;
  const document = isOk ? objectOf(body) : null;
  if (isOk && document === null)
    throw failureOfContent(context.target.provider.name, head.headers['content-type'] ?? 'no content type');
  const kind = usageFormat(format);
  const facts = document !== null && kind !== null ? usageOf(kind, document) : { usage: null, responseModel: null };
  const other = isOk ? usedOther(format, request.json, document) : {};
  context.read = { ...context.read, ...facts, other };
  const told = toldOf(context, format, head, body, document);
  context.ended(outcomeOfAnswer({ ...context.read, status: head.status }, isOk ? null : 'rejected', context.cost));
  const headers = context.headers(head, [...dropped, ...told.dropped]);
  sink.whole(head.status, { ...headers, 'content-type': told.contentType }, told.body);
  return isOk;
};
