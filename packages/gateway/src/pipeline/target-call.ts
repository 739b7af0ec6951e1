import type { IncomingHttpHeaders } from 'node:http';
import { isTranslatable, type WireFormat } from '../doors/endpoint.ts';
import type { ModelRequest } from '../doors/model-request.ts';
import { sentHeaders } from '../doors/sent-headers.ts';
import type { JsonObject } from '../formats/format.ts';
import { translateRequest } from '../formats/translate.ts';
import type { ProviderCall } from '../providers/provider.ts';
import type { Target } from '../routing/target.ts';

/** A request as one target gets it. */
export interface TargetCall {
  readonly call: ProviderCall;
  /** Paths of the request that its format cannot say. */
  readonly dropped: readonly string[];
}

/** Usage is asked for in streams, and whether to stream is said where the format wants it. */
const completed = (format: WireFormat, body: JsonObject, stream: boolean): JsonObject => {
  if (format === 'gemini') return body;
  if (!stream) return body;
  return format === 'openai-chat'
    ? { ...body, stream: true, stream_options: { include_usage: true } }
    : { ...body, stream: true };
};

/** The format in which a target takes a request; null when it cannot serve it. */
export const formatAt = ({ provider }: Target, { door, isForm }: ModelRequest): WireFormat | null => {
  const format = provider.formatFor(door.endpoint, door.format);
  return format !== null && format !== door.format && isForm ? null : format;
};

/** Writes a request for a target: the caller's own bytes where it speaks their format, else translated. */
export const targetCall = (
  target: Target,
  format: WireFormat,
  request: ModelRequest,
  headers: IncomingHttpHeaders,
): TargetCall => {
  const { door, stream } = request;
  const { model } = target;
  const same = format === door.format;
  const shared = {
    ...{ endpoint: door.endpoint, format, model, stream },
    headers: sentHeaders(headers, door.family, same),
  };
  if (same || !isTranslatable(door.format) || !isTranslatable(format))
    return { call: { ...shared, contentType: request.contentType, body: request.bodyFor(model) }, dropped: [] };
  const { value, dropped } = translateRequest(door.format, format, request.json, model);
  const body = JSON.stringify(completed(format, value, stream));
  return { call: { ...shared, contentType: 'application/json', body }, dropped };
};
