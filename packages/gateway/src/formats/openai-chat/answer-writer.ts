import { argumentText } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import type { JsonDraft } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Choice, NeutralAnswer } from '../neutral.ts';
import { chatFinishReason } from '../stop-reasons.ts';
import { chatUsage } from '../token-counts.ts';
import { extraContent, reasoningDetail } from './thoughts.ts';

const messageOf = (choice: Choice, losses: Losses): JsonObject => {
  let content: string | null = null;
  let refusal: string | null = null;
  let reasoning = '';
  const details: JsonObject[] = [];
  const calls: JsonObject[] = [];
  for (const part of choice.parts) {
    if (part.kind === 'text') {
      content = (content ?? '') + part.text;
      if (part.signature !== null) details.push(reasoningDetail('', part.signature, details.length));
    } else if (part.kind === 'refusal') refusal = (refusal ?? '') + part.text;
    else if (part.kind === 'thinking') {
      reasoning += part.text;
      details.push(reasoningDetail(part.text, part.signature, details.length));
    } else if (part.kind === 'call') {
      const text =
        part.custom && part.input.kind === 'text' ? part.input.text : argumentText(part.input, part.at, losses);
      const call = part.custom
        ? { id: part.id, type: 'custom', custom: { name: part.name, input: text } }
        : { id: part.id, type: 'function', function: { name: part.name, arguments: text } };
      calls.push({ ...call, ...extraContent(part.signature) });
    } else losses.add(part.at);
  }
  const message: JsonDraft = { role: 'assistant', content, refusal };
  if (reasoning !== '') message.reasoning_content = reasoning;
  if (details.length > 0) message.reasoning_details = details;
  if (calls.length > 0) message.tool_calls = calls;
  return message;
};

export const writeChatAnswer = (answer: NeutralAnswer, losses: Losses): JsonObject => ({
  id: answer.id ?? 'chatcmpl-0',
  object: 'chat.completion',
  created: answer.createdSeconds ?? 0,
  model: answer.model ?? '',
  choices: answer.choices.map((choice) => ({
    index: choice.index,
    message: messageOf(choice, losses),
    logprobs: null,
    finish_reason: chatFinishReason(choice.stop.reason),
  })),
  ...(answer.usage === null ? {} : { usage: chatUsage(answer.usage) }),
});
