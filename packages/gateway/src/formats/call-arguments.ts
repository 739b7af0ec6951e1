import type { JsonObject } from './format.ts';
import { isObject, parsedJson } from './json-value.ts';
import type { Losses } from './losses.ts';
import type { CallArguments } from './neutral.ts';

/** Member that holds arguments which are no JSON object, where only an object may stand. */
export const unparsedMember = 'unparsed_arguments';

/**
 * JSON text of a value out of a parsed document. Nesting too deep to write out again is an invalid document, as is a
 * value that is none of JSON.
 */
export const jsonText = (value: unknown, at: string, losses: Losses): string => {
  try {
    return JSON.stringify(value) ?? 'null';
  } catch {
    throw losses.invalid(at, 'is nested too deeply');
  }
};

/** The arguments as JSON text. A model that takes no arguments may write none: that is `{}`. */
export const argumentText = (input: CallArguments, at: string, losses: Losses): string => {
  if (input.kind === 'object') return jsonText(input.value, at, losses);
  return input.text.trim() === '' ? '{}' : input.text;
};

/**
 * The arguments as an object. A model that was cut off, or erred, leaves text that is no object: it stays readable in
 * one member, and is named as lost.
 */
export const argumentObject = (input: CallArguments, at: string, losses: Losses): JsonObject => {
  if (input.kind === 'object') return input.value;
  if (input.text.trim() === '') return {};
  const value = parsedJson(input.text);
  if (isObject(value)) return value;
  losses.add(at);
  return { [unparsedMember]: input.text };
};

/** Arguments where the source has either an object or JSON text. */
export const callArguments = (value: unknown): CallArguments => {
  if (isObject(value)) return { kind: 'object', value };
  return { kind: 'text', text: typeof value === 'string' ? value : '' };
};
