/** What the benchmark's provider answers: a kilobyte whole, or 100 events of some 200 bytes. */
const events = 100;
const word = 'words ';
const filler = word.repeat(100);

const openAiUsage = { prompt_tokens: 200, completion_tokens: 100, total_tokens: 300 };
const head = { id: 'chatcmpl-bench', created: 1_795_300_000, model: 'gpt-4.1-mini-2025-04-14' };

const openAiWhole = {
  ...head,
  object: 'chat.completion',
  choices: [
    { index: 0, message: { role: 'assistant', content: filler, refusal: null }, logprobs: null, finish_reason: 'stop' },
  ],
  usage: openAiUsage,
  service_tier: 'default',
  system_fingerprint: 'fp_bench',
};

const anthropicUsage = { input_tokens: 200, output_tokens: 100 };
const anthropicHead = { id: 'msg_bench', type: 'message', role: 'assistant', model: 'claude-haiku-4-5' };

const anthropicWhole = {
  ...anthropicHead,
  content: [{ type: 'text', text: filler }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: anthropicUsage,
};

const data = (document: unknown): string => `data: ${JSON.stringify(document)}\n\n`;
const named = (document: { readonly type: string }): string => `event: ${document.type}\n${data(document)}`;

const chunk = (delta: Readonly<Record<string, unknown>>, finish: string | null) => ({
  ...head,
  object: 'chat.completion.chunk',
  service_tier: 'default',
  system_fingerprint: 'fp_bench',
  choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
});

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

const openAiPieces = [
  data(chunk({ role: 'assistant', content: '' }, null)),
  ...times(events - 4, () => data(chunk({ content: word }, null))),
  data(chunk({}, 'stop')),
  data({ ...head, object: 'chat.completion.chunk', choices: [], usage: openAiUsage }),
  'data: [DONE]\n\n',
];

const anthropicPieces = [
  named({ type: 'message_start', ...{ message: { ...anthropicHead, content: [], usage: anthropicUsage } } }),
  named({ type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } }),
  ...times(events - 5, () =>
    named({ type: 'content_block_delta', ...{ index: 0, delta: { type: 'text_delta', text: word } } }),
  ),
  named({ type: 'content_block_stop', ...{ index: 0 } }),
  named({ type: 'message_delta', ...{ delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 100 } } }),
  named({ type: 'message_stop' }),
];

export const wholeAnswer = { openai: JSON.stringify(openAiWhole), anthropic: JSON.stringify(anthropicWhole) };
export const pieceOf = { openai: openAiPieces, anthropic: anthropicPieces };
