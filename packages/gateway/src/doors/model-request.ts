import { isUtf8 } from 'node:buffer';
import { HoldfastError } from '@holdfast/core';
import type { JsonObject } from '../formats/format.ts';
import type { Door } from './door.ts';
import { edited, jsonMembers, type TextEdit } from './json-members.ts';
import { boundaryOf, formParts } from './multipart.ts';

/** A body that a caller sent, as far as the gateway must know it; all else is the provider's business. */
export interface ModelRequest {
  readonly door: Door;
  readonly model: string;
  readonly stream: boolean;
  /** The caller wants the usage chunk at the end of a stream of chat completions; other formats always tell usage. */
  readonly wantsUsage: boolean;
  /** The document; for a form its fields, and of its files the lengths. */
  readonly json: JsonObject;
  readonly isForm: boolean;
  readonly contentType: string;
  readonly bytes: Buffer;
  /** The caller's bytes with `model` replaced and, for a stream of chat completions, usage asked for. Nothing else differs. */
  bodyFor(model: string): string | Uint8Array;
}

const invalid = (message: string, field = ''): HoldfastError =>
  new HoldfastError('request.invalid', message, field === '' ? {} : { field });

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const maxModelLength = 512;

/** Free text for providers, but no controls: it appears in logs and on terminals. */
export const checkModel = (model: unknown): string => {
  if (typeof model !== 'string' || model === '') throw invalid('model: a model name is needed.', 'model');
  if (model.length > maxModelLength) throw invalid(`model: longer than ${maxModelLength} characters.`, 'model');
  if (/\p{Cc}/u.test(model)) throw invalid('model: no control characters.', 'model');
  return model;
};

const checkList = (json: JsonObject, field: string): void => {
  const list = json[field];
  if (!Array.isArray(list)) throw invalid(`${field}: a list is needed.`, field);
  const wrong = list.findIndex((item) => !isObject(item));
  if (wrong !== -1) throw invalid(`${field}.${wrong}: an object is needed.`, `${field}.${wrong}`);
};

const checkStream = (json: JsonObject): boolean => {
  const { stream = null } = json;
  if (stream !== null && typeof stream !== 'boolean') throw invalid('stream: true or false is needed.', 'stream');
  return stream === true;
};

const checkUsage = (json: JsonObject): boolean => {
  const { stream_options: options = null } = json;
  if (options === null) return false;
  if (!isObject(options)) throw invalid('stream_options: an object is needed.', 'stream_options');
  const { include_usage: wanted = null } = options;
  if (wanted !== null && typeof wanted !== 'boolean')
    throw invalid('stream_options.include_usage: true or false is needed.', 'stream_options.include_usage');
  return wanted === true;
};

const decode = (bytes: Buffer): { text: string; json: JsonObject } => {
  if (!isUtf8(bytes)) throw invalid('The body is not valid JSON in UTF-8.');
  const text = bytes.toString('utf8');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw invalid('The body is not valid JSON in UTF-8.');
  }
  if (!isObject(json)) throw invalid('The body: an object is needed.');
  return { text, json };
};

const usageEdit = (text: string, members: ReturnType<typeof jsonMembers>): TextEdit => {
  const options = members.find((m) => m.key === 'stream_options');
  if (options === undefined) {
    const at = text.indexOf('{') + 1;
    return { start: at, end: at, text: '"stream_options":{"include_usage":true},' };
  }
  if (text.charAt(options.valueStart) !== '{')
    return { start: options.valueStart, end: options.valueEnd, text: '{"include_usage":true}' };
  const inner = jsonMembers(text, options.valueStart);
  const include = inner.find((m) => m.key === 'include_usage');
  if (include !== undefined) return { start: include.valueStart, end: include.valueEnd, text: 'true' };
  const at = options.valueStart + 1;
  return { start: at, end: at, text: inner.length === 0 ? '"include_usage":true' : '"include_usage":true,' };
};

/** Fields that are read here and again by the provider, which may take another of two with the same name. */
const readFields = new Set(['model', 'stream', 'stream_options', 'messages', 'contents', 'max_tokens', 'n']);

/** Each of Gemini's requests for an embedding names the model again, and must name the one of the path. */
const embedRequests = (json: JsonObject, model: string): string => {
  const requests: unknown[] = Array.isArray(json.requests) ? json.requests : [];
  const named = requests.map((request) => (isObject(request) ? { ...request, model: `models/${model}` } : request));
  return JSON.stringify({ ...json, requests: named });
};

const jsonRequest = (door: Door, contentType: string, bytes: Buffer, pathModel: string | null): ModelRequest => {
  const { text, json } = decode(bytes);
  const model = checkModel(pathModel ?? json.model);
  const stream = door.stream === 'body' ? checkStream(json) : door.stream;
  const isChat = door.format === 'openai-chat';
  const wantsUsage = isChat && checkUsage(json);
  if (door.list !== null) checkList(json, door.list);
  const members = jsonMembers(text);
  const seen = new Set<string>();
  for (const { key } of members) {
    if (seen.has(key) && readFields.has(key)) throw invalid(`The field ${key} is given twice.`, key);
    seen.add(key);
  }
  const member = pathModel === null ? members.find((m) => m.key === 'model') : undefined;
  return {
    ...{ door, model, stream, wantsUsage, json, isForm: false, contentType, bytes },
    bodyFor(name) {
      if (door.endpoint === 'gemini.batch_embed' && name !== model) return embedRequests(json, name);
      const edits: TextEdit[] = [];
      if (member !== undefined && name !== model)
        edits.push({ start: member.valueStart, end: member.valueEnd, text: JSON.stringify(name) });
      if (isChat && stream && !wantsUsage) edits.push(usageEdit(text, members));
      return edits.length === 0 ? bytes : edited(text, edits);
    },
  };
};

const formRequest = (door: Door, contentType: string, bytes: Buffer, boundary: string): ModelRequest => {
  const parts = formParts(bytes, boundary);
  const json: Record<string, unknown> = {};
  for (const { name, isFile, start, end } of parts)
    json[name] = isFile ? { fileBytes: end - start } : bytes.toString('utf8', start, end);
  const models = parts.filter(({ name }) => name === 'model');
  const [part] = models;
  if (models.length > 1) throw invalid('The field model is given twice.', 'model');
  const model = checkModel(json.model);
  return {
    ...{ door, model, stream: json.stream === 'true', wantsUsage: false, json, isForm: true, contentType, bytes },
    bodyFor: (name) =>
      part === undefined || name === model
        ? bytes
        : Buffer.concat([bytes.subarray(0, part.start), Buffer.from(name), bytes.subarray(part.end)]),
  };
};

/**
 * Reads what came by a door; `pathModel` is the model of doors that have it in their path. Errors: `request.invalid`
 * with the field at fault.
 */
export const parseModelRequest = (
  door: Door,
  contentType: string,
  bytes: Buffer,
  pathModel: string | null,
): ModelRequest => {
  const boundary = door.takesForms ? boundaryOf(contentType) : null;
  return boundary === null
    ? jsonRequest(door, 'application/json', bytes, pathModel)
    : formRequest(door, contentType, bytes, boundary);
};
