import type { SseEvent, StreamTranslator } from '../formats/format.ts';
import { eventText } from './server-sent-events.ts';

/** How the events of a stream are written for its caller. */
export interface Framing {
  readonly headers: Readonly<Record<string, string>>;
  write(event: SseEvent): string;
  /** What follows the last event. */
  end(): string;
  /** Takes every event apart, so that it is written anew; null when it can pass as it is. */
  readonly translator: StreamTranslator | null;
}

const events: Framing = {
  headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
  write: eventText,
  end: () => '',
  translator: null,
};

const asTheyAre: StreamTranslator = { push: (event) => [event], end: () => [], dropped: [] };

/** Gemini's streams for callers that do not ask for events: one JSON list, an element for each. */
const jsonList = (): Framing => {
  let isFirst = true;
  return {
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache' },
    write({ data }) {
      const before = isFirst ? '[' : ',\r\n';
      isFirst = false;
      return before + data;
    },
    end: () => (isFirst ? '[]' : ']'),
    translator: asTheyAre,
  };
};

export const framingOf = (asJsonList: boolean): Framing => (asJsonList ? jsonList() : events);
