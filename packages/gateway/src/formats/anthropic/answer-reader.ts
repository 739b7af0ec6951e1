import type { JsonObject } from '../format.ts';
import { Members } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralAnswer } from '../neutral.ts';
import { anthropicStop } from '../stop-reasons.ts';
import { readUsage } from '../token-counts.ts';
import { readContent } from './content-reader.ts';

/** Reads an answer of `/v1/messages`. Throws the error of `losses` when it has no content. */
export const readMessagesAnswer = (object: JsonObject, losses: Losses): NeutralAnswer => {
  const body = new Members(object, '', losses);
  const content = body.take('content');
  if (!Array.isArray(content)) throw losses.invalid('content', 'must be a list');
  const parts = readContent(content, 'content', losses);
  const stop = anthropicStop(body.take('stop_reason'), body.text('stop_sequence'));
  body.ignore('type', 'role');
  const answer: NeutralAnswer = {
    id: body.text('id'),
    model: body.text('model'),
    createdSeconds: null,
    choices: [{ index: 0, parts, stop }],
    usage: readUsage('anthropic', body.take('usage')),
  };
  body.rest();
  return answer;
};
