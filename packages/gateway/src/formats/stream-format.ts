import type { SseEvent } from './format.ts';
import type { NeutralEvent } from './neutral.ts';

/** Reads the events of one stream of a format. */
export interface StreamReader {
  /** Throws the error of its losses for an event that is not what the format says. */
  read(event: SseEvent): readonly NeutralEvent[];
  /** What is still to be told when the source has closed: formats without an event for the end tell it here. */
  end(): readonly NeutralEvent[];
}

/** Writes the events of one stream of a format. */
export interface StreamWriter {
  write(event: NeutralEvent): readonly SseEvent[];
}

/** Most calls, and most answers, in one stream; beyond that it is no answer of a model. */
export const maxCalls = 1_024;
export const maxChoices = 128;

/** Longest arguments of one call in UTF-16 units, where they have to be kept until they are whole. */
export const maxArgumentLength = 8_388_608;
