import { argumentText } from '../call-arguments.ts';
import type { JsonObject } from '../format.ts';
import type { Losses } from '../losses.ts';
import type { NeutralAnswer, Part, Signature } from '../neutral.ts';
import { incompleteReason } from '../stop-reasons.ts';
import {
  callItem,
  itemId,
  messageItem,
  reasoningItem,
  refusalContent,
  responseDocument,
  textContent,
} from './response-document.ts';

/**
 * Items of an answer. As in Anthropic's form, a signature that stands on a call or on text goes into an item of
 * reasoning before it.
 */
const itemsOf = (parts: readonly Part[], id: string, status: string, losses: Losses): JsonObject[] => {
  const items: JsonObject[] = [];
  let content: JsonObject[] = [];
  let unsigned: string | null = null;
  const next = (prefix: 'msg' | 'rs' | 'fc' | 'ctc'): string => itemId(prefix, id, items.length);
  const closeMessage = (): void => {
    if (content.length > 0) items.push(messageItem(next('msg'), content, status));
    content = [];
  };
  const sign = (signature: Signature | null): void => {
    if (unsigned === null && signature === null) return;
    closeMessage();
    items.push(reasoningItem(next('rs'), unsigned ?? '', signature));
    unsigned = null;
  };
  for (const part of parts) {
    if (part.kind === 'thinking') {
      sign(null);
      unsigned = part.text;
      if (part.signature !== null) sign(part.signature);
    } else if (part.kind === 'text') {
      sign(part.signature);
      if (part.text !== '') content.push(textContent(part.text));
    } else if (part.kind === 'refusal') {
      sign(null);
      content.push(refusalContent(part.text));
    } else if (part.kind === 'call') {
      sign(part.signature);
      closeMessage();
      const text =
        part.custom && part.input.kind === 'text' ? part.input.text : argumentText(part.input, part.at, losses);
      items.push(callItem(next(part.custom ? 'ctc' : 'fc'), part, text, status));
    } else losses.add(part.at);
  }
  sign(null);
  closeMessage();
  return items;
};

export const writeResponsesAnswer = (answer: NeutralAnswer, losses: Losses): JsonObject => {
  const [choice, ...others] = answer.choices;
  for (const other of others) losses.add(`choices[${other.index}]`);
  if (choice?.stop.sequence !== undefined && choice.stop.sequence !== null) losses.add('stop_sequence');
  const head = { id: answer.id ?? 'resp_0', model: answer.model ?? '', createdSeconds: answer.createdSeconds ?? 0 };
  const stop = choice?.stop.reason ?? 'other';
  const status = incompleteReason(stop) === null ? 'completed' : 'incomplete';
  return responseDocument(head, itemsOf(choice?.parts ?? [], head.id, status, losses), stop, answer.usage);
};
