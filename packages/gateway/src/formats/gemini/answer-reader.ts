import type { JsonObject } from '../format.ts';
import { isObject } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { Choice, NeutralAnswer, Part } from '../neutral.ts';
import { geminiStop } from '../stop-reasons.ts';
import { readUsage } from '../token-counts.ts';
import { CallIds, readPart } from './content-reader.ts';
import { ProtoMembers } from './proto-members.ts';

/** Members of a candidate that only say what the answer says anyway, or how sure somebody was. */
const asides = ['safetyRatings', 'avgLogprobs', 'tokenCount', 'finishMessage'] as const;

/** Parts of one candidate, of an answer or of a piece of a stream. */
export const readCandidateParts = (candidate: ProtoMembers, choice: number, ids: CallIds, losses: Losses): Part[] => {
  const content = candidate.nested('content');
  if (content === null) return [];
  const inner = new ProtoMembers(content, candidate.path('content'), losses);
  inner.ignore('role');
  const at = inner.path('parts');
  const parts: Part[] = [];
  for (const [i, value] of inner.list('parts').entries()) {
    const part = readPart(value, `${at}[${i}]`, { ids, choice }, losses);
    if (part !== null && !(part.kind === 'text' && part.text === '' && part.signature === null)) parts.push(part);
  }
  inner.rest();
  return parts;
};

const readCandidate = (value: unknown, position: number, ids: CallIds, losses: Losses): Choice => {
  const at = `candidates[${position}]`;
  if (!isObject(value)) throw losses.invalid(at, 'must be an object');
  const candidate = new ProtoMembers(value, at, losses);
  const index = candidate.number('index') ?? position;
  const parts = readCandidateParts(candidate, index, ids, losses);
  const called = parts.some((part) => part.kind === 'call');
  const stop = geminiStop(candidate.take('finishReason') ?? 'STOP', called);
  candidate.ignore(...asides);
  candidate.rest();
  return { index, parts, stop };
};

/** Reads an answer of `:generateContent`. Throws the error of `losses` when it has neither candidates nor a block. */
export const readGeminiAnswer = (object: JsonObject, losses: Losses): NeutralAnswer => {
  const body = new ProtoMembers(object, '', losses);
  const id = body.text('responseId');
  const candidates = body.list('candidates');
  const feedback = body.nested('promptFeedback');
  if (candidates.length === 0 && typeof feedback?.blockReason !== 'string')
    throw losses.invalid('candidates', 'must be a list with an answer');
  const ids = new CallIds(id);
  const choices = candidates.map((candidate, i) => readCandidate(candidate, i, ids, losses));
  if (choices.length === 0) choices.push({ index: 0, parts: [], stop: { reason: 'content_filter', sequence: null } });
  const answer: NeutralAnswer = {
    id,
    model: body.text('modelVersion'),
    createdSeconds: null,
    choices,
    usage: readUsage('gemini', body.take('usageMetadata')),
  };
  body.ignore('createTime', 'modelStatus');
  body.rest();
  return answer;
};
