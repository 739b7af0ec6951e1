import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Format, formats, type JsonObject, type SseEvent, type Translated } from './format.ts';
import { streamTranslator, translateRequest, translateResponse } from './translate.ts';

/**
 * The golden files: documents as each provider has them on the wire, and what every other format makes of them. After a
 * change that is meant, write them anew with `node packages/gateway/src/formats/golden-writer.ts`, and read the difference.
 */
const folder = new URL('../../fixtures/formats/', import.meta.url);

/** An event whose data is shown as JSON where it is some. */
interface ShownEvent {
  readonly event: string | null;
  readonly data: unknown;
}

export interface Documents {
  readonly requests: Readonly<Record<string, JsonObject>>;
  readonly answers: Readonly<Record<string, JsonObject>>;
  readonly streams: Readonly<Record<string, readonly ShownEvent[]>>;
}

/** The model that a request of a golden file is translated for, one of today's at each provider. */
export const targetModels: Readonly<Record<Format, string>> = {
  'openai-chat': 'gpt-5.4',
  'openai-responses': 'gpt-5.4',
  anthropic: 'claude-opus-5',
  gemini: 'gemini-3-pro',
};

export const readDocuments = async (format: Format): Promise<Documents> =>
  JSON.parse(await readFile(new URL(`${format}.json`, folder), 'utf8'));

export const goldenPath = (from: Format, to: Format): string =>
  fileURLToPath(new URL(`golden/${from}-to-${to}.json`, folder));

export const eventsOf = (shown: readonly ShownEvent[]): SseEvent[] =>
  shown.map(({ event, data }) => ({ event, data: typeof data === 'string' ? data : JSON.stringify(data) }));

const shownOf = ({ event, data }: SseEvent): ShownEvent => ({
  event,
  data: data.startsWith('{') ? JSON.parse(data) : data,
});

export const translateStream = (
  from: Format,
  to: Format,
  events: readonly SseEvent[],
  includeUsage = true,
): Translated<readonly SseEvent[]> => {
  const translator = streamTranslator(from, to, 'smart', { includeUsage });
  const value = events.flatMap((event) => translator.push(event));
  value.push(...translator.end());
  return { value, dropped: translator.dropped };
};

const mapped = <T, R>(group: Readonly<Record<string, T>>, make: (one: T) => R): Record<string, R> =>
  Object.fromEntries(Object.entries(group).map(([name, one]) => [name, make(one)]));

/** What all documents of `from` become in `to`, as its golden file has it. */
export const goldenOf = (from: Format, to: Format, documents: Documents): unknown => ({
  requests: mapped(documents.requests, (body) => translateRequest(from, to, body, targetModels[to])),
  answers: mapped(documents.answers, (body) => translateResponse(from, to, body, 'smart')),
  streams: mapped(documents.streams, (events) => {
    const { value, dropped } = translateStream(from, to, eventsOf(events));
    return { value: value.map(shownOf), dropped };
  }),
});

export const pairs: readonly (readonly [Format, Format])[] = formats.flatMap((from) =>
  formats.filter((to) => to !== from).map((to) => [from, to] as const),
);
