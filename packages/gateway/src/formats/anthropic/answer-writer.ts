import { argumentObject } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import type { Losses } from '../losses.ts';
import type { NeutralAnswer, Part, Signature } from '../neutral.ts';
import { signatureText } from '../signature.ts';
import { anthropicStopReason } from '../stop-reasons.ts';
import { messagesUsage, zeroUsage } from '../token-counts.ts';

export const thinkingBlock = (text: string, signature: Signature | null): JsonObject =>
  signature?.origin === 'anthropic-redacted'
    ? { type: 'redacted_thinking', data: signature.value }
    : {
        type: 'thinking',
        thinking: text,
        signature: signature === null ? '' : signatureText(signature, 'anthropic'),
      };

/**
 * Blocks of an answer. A signature that stands on a call or on text, as Gemini has it, goes into a block of thinking
 * before it: into the one that is there, when that has none of its own.
 */
const blocksOf = (parts: readonly Part[], losses: Losses): JsonObject[] => {
  const blocks: JsonObject[] = [];
  let unsigned: string | null = null;
  const flush = (signature: Signature | null): void => {
    if (unsigned !== null || signature !== null) blocks.push(thinkingBlock(unsigned ?? '', signature));
    unsigned = null;
  };
  for (const part of parts) {
    if (part.kind === 'thinking') {
      flush(null);
      if (part.signature === null) unsigned = part.text;
      else blocks.push(thinkingBlock(part.text, part.signature));
    } else if (part.kind === 'text' || part.kind === 'refusal') {
      flush(part.kind === 'text' ? part.signature : null);
      if (part.text !== '') blocks.push({ type: 'text', text: part.text });
    } else if (part.kind === 'call') {
      flush(part.signature);
      const input = part.custom && part.input.kind === 'text' ? { input: part.input.text } : null;
      const { id, name } = part;
      blocks.push({ type: 'tool_use', id, name, input: input ?? argumentObject(part.input, part.at, losses) });
    } else losses.add(part.at);
  }
  flush(null);
  return blocks;
};

export const writeMessagesAnswer = (answer: NeutralAnswer, losses: Losses): JsonObject => {
  const [choice, ...others] = answer.choices;
  for (const other of others) losses.add(`choices[${other.index}]`);
  return {
    id: answer.id ?? 'msg_0',
    type: 'message',
    role: 'assistant',
    model: answer.model ?? '',
    content: blocksOf(choice?.parts ?? [], losses),
    stop_reason: anthropicStopReason(choice?.stop.reason ?? 'other'),
    stop_sequence: choice?.stop.sequence ?? null,
    usage: messagesUsage(answer.usage ?? zeroUsage),
  };
};
