import type { Stop, StopReason } from './neutral.ts';

const stop = (reason: StopReason, sequence: string | null = null): Stop => ({ reason, sequence });

const chatReasons: Readonly<Record<string, StopReason>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'calls',
  function_call: 'calls',
  content_filter: 'content_filter',
};

const anthropicReasons: Readonly<Record<string, StopReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop_sequence',
  max_tokens: 'length',
  model_context_window_exceeded: 'context_window',
  tool_use: 'calls',
  refusal: 'refusal',
  pause_turn: 'pause',
};

const geminiReasons: Readonly<Record<string, StopReason>> = {
  STOP: 'stop',
  MAX_TOKENS: 'length',
  MALFORMED_FUNCTION_CALL: 'malformed_call',
  UNEXPECTED_TOOL_CALL: 'malformed_call',
  TOO_MANY_TOOL_CALLS: 'malformed_call',
  LANGUAGE: 'other',
  OTHER: 'other',
  CONTINUATION: 'pause',
};

const lookUp = (table: Readonly<Record<string, StopReason>>, word: unknown, otherwise: StopReason): StopReason =>
  typeof word === 'string' && Object.hasOwn(table, word) ? (table[word] ?? otherwise) : otherwise;

/** Compatible servers give words of their own; `called` says whether the answer has calls. */
export const chatStop = (word: unknown, called: boolean): Stop => {
  const reason = lookUp(chatReasons, word, called ? 'calls' : 'stop');
  // Several compatible servers say "stop" behind calls.
  return stop(reason === 'stop' && called ? 'calls' : reason);
};

export const anthropicStop = (word: unknown, sequence: unknown): Stop =>
  stop(lookUp(anthropicReasons, word, 'other'), typeof sequence === 'string' ? sequence : null);

/** Gemini says STOP behind calls. Every word that is not in the table is a filter's. */
export const geminiStop = (word: unknown, called: boolean): Stop => {
  const reason = lookUp(geminiReasons, word, 'content_filter');
  return stop(reason === 'stop' && called ? 'calls' : reason);
};

const toChat: Readonly<Record<StopReason, string>> = {
  stop: 'stop',
  stop_sequence: 'stop',
  length: 'length',
  context_window: 'length',
  calls: 'tool_calls',
  content_filter: 'content_filter',
  refusal: 'content_filter',
  pause: 'stop',
  malformed_call: 'stop',
  other: 'stop',
};

const toAnthropic: Readonly<Record<StopReason, string>> = {
  stop: 'end_turn',
  stop_sequence: 'stop_sequence',
  length: 'max_tokens',
  context_window: 'model_context_window_exceeded',
  calls: 'tool_use',
  content_filter: 'refusal',
  refusal: 'refusal',
  pause: 'pause_turn',
  malformed_call: 'end_turn',
  other: 'end_turn',
};

const toGemini: Readonly<Record<StopReason, string>> = {
  stop: 'STOP',
  stop_sequence: 'STOP',
  length: 'MAX_TOKENS',
  context_window: 'MAX_TOKENS',
  calls: 'STOP',
  content_filter: 'SAFETY',
  refusal: 'SAFETY',
  pause: 'OTHER',
  malformed_call: 'MALFORMED_FUNCTION_CALL',
  other: 'OTHER',
};

export const chatFinishReason = (reason: StopReason): string => toChat[reason];
export const anthropicStopReason = (reason: StopReason): string => toAnthropic[reason];
export const geminiFinishReason = (reason: StopReason): string => toGemini[reason];

/** Why a response of OpenAI is incomplete; null when it is complete. */
export const incompleteReason = (reason: StopReason): string | null => {
  if (reason === 'length' || reason === 'context_window') return 'max_output_tokens';
  return reason === 'content_filter' || reason === 'refusal' ? 'content_filter' : null;
};

/** The stop of a response: its status, why it is incomplete, and what it has in it. */
export const responsesStop = (status: unknown, why: unknown, has: { calls: boolean; refusal: boolean }): Stop => {
  if (status === 'incomplete') return stop(why === 'content_filter' ? 'content_filter' : 'length');
  if (has.calls) return stop('calls');
  return stop(has.refusal ? 'refusal' : 'stop');
};
