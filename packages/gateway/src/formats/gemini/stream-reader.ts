import { argumentText } from '../call-arguments.ts';
import type { JsonObject, SseEvent } from '../format.ts';
import { isObject, parsedJson } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import type { NeutralEvent, Part } from '../neutral.ts';
import { geminiStop } from '../stop-reasons.ts';
import { streamFailureOf } from '../stream-failure.ts';
import { maxCalls, maxChoices, type StreamReader } from '../stream-format.ts';
import { readUsage } from '../token-counts.ts';
import { readCandidateParts } from './answer-reader.ts';
import { CallIds } from './content-reader.ts';
import { ProtoMembers } from './proto-members.ts';

interface OpenCandidate {
  called: boolean;
  stopped: boolean;
}

/** Reads a stream of `:streamGenerateContent?alt=sse`, whose events are answers in pieces. */
export class GeminiStreamReader implements StreamReader {
  readonly #losses: Losses;
  readonly #candidates = new Map<number, OpenCandidate>();
  #ids: CallIds | null = null;
  #calls = 0;
  #ended = false;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  read(event: SseEvent): readonly NeutralEvent[] {
    if (event.data === '' || this.#ended) return [];
    const body = parsedJson(event.data);
    if (!isObject(body)) throw this.#losses.invalid('data', 'of an event is no JSON object');
    const failure = streamFailureOf(body);
    if (failure !== null) {
      this.#ended = true;
      return [{ kind: 'failure', failure }];
    }
    const out: NeutralEvent[] = [];
    const chunk = new ProtoMembers(body, '', this.#losses);
    const [id, model] = [chunk.text('responseId'), chunk.text('modelVersion')];
    if (this.#ids === null) {
      this.#ids = new CallIds(id);
      out.push({ kind: 'start', id, model, createdSeconds: null });
    }
    for (const [i, value] of chunk.list('candidates').entries())
      if (isObject(value)) this.#readCandidate(value, i, this.#ids, out);
    const blocked = chunk.nested('promptFeedback')?.blockReason;
    if (typeof blocked === 'string') this.#stop(0, blocked, out);
    const usage = readUsage('gemini', chunk.take('usageMetadata'));
    if (usage !== null) out.push({ kind: 'usage', usage });
    return out;
  }

  end(): readonly NeutralEvent[] {
    const stopped = [...this.#candidates.values()].every((candidate) => candidate.stopped);
    if (this.#ended || this.#candidates.size === 0 || !stopped) return [];
    this.#ended = true;
    return [{ kind: 'end' }];
  }

  #candidate(choice: number): OpenCandidate {
    let open = this.#candidates.get(choice);
    if (open === undefined) {
      if (this.#candidates.size >= maxChoices) throw this.#losses.invalid('candidates', 'are too many');
      open = { called: false, stopped: false };
      this.#candidates.set(choice, open);
    }
    return open;
  }

  #readCandidate(value: JsonObject, position: number, ids: CallIds, out: NeutralEvent[]): void {
    const candidate = new ProtoMembers(value, 'candidates[]', this.#losses);
    const choice = candidate.number('index') ?? position;
    const open = this.#candidate(choice);
    for (const part of readCandidateParts(candidate, choice, ids, this.#losses))
      this.#readPart(part, choice, open, out);
    const reason = candidate.take('finishReason');
    for (const key of ['groundingMetadata', 'citationMetadata', 'logprobsResult', 'urlContextMetadata'] as const)
      if (candidate.take(key) !== undefined) candidate.lose(key);
    if (typeof reason === 'string') this.#stop(choice, reason, out);
  }

  #readPart(part: Part, choice: number, open: OpenCandidate, out: NeutralEvent[]): void {
    if (part.kind === 'text' || part.kind === 'thinking') {
      if (part.text !== '') out.push({ kind: part.kind, choice, text: part.text });
      if (part.signature !== null) out.push({ kind: 'signature', choice, signature: part.signature });
    } else if (part.kind === 'call') {
      if (this.#calls >= maxCalls) throw this.#losses.invalid('candidates', 'have too many calls');
      const call = this.#calls;
      this.#calls += 1;
      open.called = true;
      const { id, name, signature } = part;
      out.push(
        { kind: 'call', choice, call, id, name, custom: false, signature },
        { kind: 'arguments', call, text: argumentText(part.input, part.at, this.#losses) },
        { kind: 'call-end', call },
      );
    } else this.#losses.add(part.at);
  }

  #stop(choice: number, reason: string, out: NeutralEvent[]): void {
    const open = this.#candidate(choice);
    if (open.stopped) return;
    open.stopped = true;
    out.push({ kind: 'stop', choice, stop: geminiStop(reason, open.called) });
  }
}
