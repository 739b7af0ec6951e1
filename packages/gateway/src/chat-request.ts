import { HoldfastError } from '@holdfast/core';
import { z } from 'zod';
import { edited, jsonMembers, type TextEdit } from './json-members.ts';

/** What the gateway must know; everything else is the provider's business and passes unread. */
const chatBody = z.looseObject({
  model: z
    .string()
    .min(1)
    .max(512)
    .regex(/^[^\p{Cc}]+$/u, 'no control characters'),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  messages: z.array(z.looseObject({ role: z.string().optional() })),
});

/** Fields that are read here and again by the provider, which may take another of two with the same name. */
const readFields = new Set(['model', 'stream', 'stream_options', 'messages']);

export interface ChatRequest {
  readonly model: string;
  readonly stream: boolean;
  /** The caller wants the usage chunk at the end of the stream. */
  readonly wantsUsage: boolean;
  /** Assistant messages so far: how far the conversation has come. */
  readonly assistantTurns: number;
  readonly lastRole: string | null;
  /** The caller's bytes with `model` replaced and, for a stream, usage asked for. Nothing else differs. */
  bodyFor(model: string): Uint8Array<ArrayBuffer>;
}

const invalid = (message: string, details: Record<string, unknown> = {}): HoldfastError =>
  new HoldfastError('request.invalid', message, details);

const usageEdit = (text: string): TextEdit => {
  const members = jsonMembers(text);
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

const decode = (bytes: Uint8Array): { text: string; json: unknown } => {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { text, json: JSON.parse(text) };
  } catch (cause) {
    throw new HoldfastError('request.invalid', 'The body is not valid JSON in UTF-8.', {}, { cause });
  }
};

/** Reads a chat completion request. Throws `request.invalid`. */
export const parseChatRequest = (bytes: Uint8Array<ArrayBuffer>): ChatRequest => {
  const { text, json } = decode(bytes);
  const parsed = chatBody.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.join('.') ?? '';
    throw invalid(`${field === '' ? 'The body' : field}: ${issue?.message ?? 'is not valid'}`, { field });
  }
  const body = parsed.data;
  const members = jsonMembers(text);
  const keys = members.map((m) => m.key);
  const twice = keys.find((k, i) => readFields.has(k) && keys.indexOf(k) !== i);
  if (twice !== undefined) throw invalid(`The field ${twice} is given twice.`, { field: twice });

  const stream = body.stream === true;
  const wantsUsage = body.stream_options?.include_usage === true;
  const modelMember = members.find((m) => m.key === 'model');
  return {
    model: body.model,
    stream,
    wantsUsage,
    assistantTurns: body.messages.filter((m) => m.role === 'assistant').length,
    lastRole: body.messages.at(-1)?.role ?? null,
    bodyFor(model) {
      const edits: TextEdit[] = [];
      if (modelMember !== undefined && model !== body.model)
        edits.push({ start: modelMember.valueStart, end: modelMember.valueEnd, text: JSON.stringify(model) });
      if (stream && !wantsUsage) edits.push(usageEdit(text));
      return edits.length === 0 ? bytes : new TextEncoder().encode(edited(text, edits));
    },
  };
};
