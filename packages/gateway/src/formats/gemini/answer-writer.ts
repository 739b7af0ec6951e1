import type { JsonObject } from '../format.ts';
import type { Losses } from '../losses.ts';
import type { NeutralAnswer, Part } from '../neutral.ts';
import { signatureText } from '../signature.ts';
import { geminiFinishReason } from '../stop-reasons.ts';
import { geminiUsageMetadata } from '../token-counts.ts';
import { GeminiPartWriter } from './content-writer.ts';

/**
 * Parts of an answer. A signature that another provider gave its thoughts stands on the thought, where clients of
 * Gemini keep it and send it back.
 */
const partsOf = (parts: readonly Part[], losses: Losses): JsonObject[] => {
  const writer = new GeminiPartWriter(losses);
  return parts.flatMap((part) => {
    if (part.kind !== 'thinking' || part.signature === null || part.signature.origin === 'gemini')
      return writer.parts([part]);
    return [{ text: part.text, thought: true, thoughtSignature: signatureText(part.signature, 'gemini') }];
  });
};

export const writeGeminiAnswer = (answer: NeutralAnswer, losses: Losses): JsonObject => ({
  candidates: answer.choices.map((choice) => {
    if (choice.stop.sequence !== null) losses.add('stop_sequence');
    return {
      content: { parts: partsOf(choice.parts, losses), role: 'model' },
      finishReason: geminiFinishReason(choice.stop.reason),
      index: choice.index,
    };
  }),
  ...(answer.usage === null ? {} : { usageMetadata: geminiUsageMetadata(answer.usage) }),
  modelVersion: answer.model ?? '',
  responseId: answer.id ?? '',
});
