import type { JsonObject, Usage } from '../format.ts';
import type { Signature, StopReason } from '../neutral.ts';
import { signatureText } from '../signature.ts';
import { incompleteReason } from '../stop-reasons.ts';
import { responsesUsage } from '../token-counts.ts';

export interface ResponseHead {
  readonly id: string;
  readonly model: string;
  readonly createdSeconds: number;
}

/** The whole response as a document; `stop` is null while it is in progress. */
export const responseDocument = (
  head: ResponseHead,
  output: readonly JsonObject[],
  stop: StopReason | null,
  usage: Usage | null,
): JsonObject => {
  const why = stop === null ? null : incompleteReason(stop);
  return {
    id: head.id,
    object: 'response',
    created_at: head.createdSeconds,
    status: stop === null ? 'in_progress' : why === null ? 'completed' : 'incomplete',
    background: false,
    error: null,
    incomplete_details: why === null ? null : { reason: why },
    instructions: null,
    max_output_tokens: null,
    metadata: {},
    model: head.model,
    output,
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: null,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: null,
    truncation: 'disabled',
    usage: usage === null ? null : responsesUsage(usage),
    user: null,
  };
};

/** Ids of the items of one response: its own, without the prefix of its provider, and a number. */
export const itemId = (prefix: 'msg' | 'rs' | 'fc' | 'ctc', responseId: string, index: number): string =>
  `${prefix}_${responseId.replace(/^(resp|msg|chatcmpl)[_-]/, '')}_${index}`;

export const messageItem = (id: string, content: readonly JsonObject[], status: string): JsonObject => ({
  id,
  type: 'message',
  status,
  role: 'assistant',
  content,
});

export const textContent = (text: string): JsonObject => ({ type: 'output_text', annotations: [], logprobs: [], text });

export const refusalContent = (refusal: string): JsonObject => ({ type: 'refusal', refusal });

export const reasoningItem = (id: string, text: string, signature: Signature | null): JsonObject => ({
  id: signature?.origin === 'openai' && signature.id !== '' ? signature.id : id,
  type: 'reasoning',
  summary: text === '' ? [] : [{ type: 'summary_text', text }],
  ...(signature === null ? {} : { encrypted_content: signatureText(signature, 'openai') }),
});

export const callItem = (
  id: string,
  call: { readonly id: string; readonly name: string; readonly custom: boolean },
  text: string,
  status: string,
): JsonObject =>
  call.custom
    ? { id, type: 'custom_tool_call', status, call_id: call.id, name: call.name, input: text }
    : { id, type: 'function_call', status, call_id: call.id, name: call.name, arguments: text };
