import { canonicalJson, digestOf } from '../caches/canonical-json.ts';
import type { WireFormat } from '../doors/endpoint.ts';
import type { JsonObject } from '../formats/format.ts';

/** A tool call that a conversation shows, in its order. Arguments and results are compared only where that matters. */
interface ToolCall {
  readonly name: string;
  readonly args: unknown;
  /** What the tool answered; undefined until it has. */
  result: unknown;
}

/** How many of the last messages are looked at: a loop shows at the end. */
const window = 256;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const listOf = (value: unknown): readonly JsonObject[] =>
  Array.isArray(value) ? value.slice(-window).filter(isObject) : [];

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Arguments as the model wrote them, or as a document: the same text for both. */
const argumentsOf = (value: unknown): string => {
  if (typeof value !== 'string') return canonicalJson(value ?? {});
  try {
    return canonicalJson(JSON.parse(value));
  } catch {
    return value;
  }
};

/** Collects calls, and fits results to them by id, or by name where a format has no ids. */
class Calls {
  readonly all: ToolCall[] = [];
  readonly #byId = new Map<string, ToolCall>();

  add(name: unknown, args: unknown, id: unknown): void {
    const call: ToolCall = { name: textOf(name), args, result: undefined };
    this.all.push(call);
    this.#byId.set(textOf(id), call);
  }

  answered(id: unknown, result: unknown): void {
    const call = this.#byId.get(textOf(id));
    if (call !== undefined) call.result = result ?? null;
  }
}

/** Another order of members and other white space leave this as it is: a cheap way to tell most texts apart. */
const charsOf = (json: string): number => json.replace(/\s+/g, '').length;

/** Tells calls that are like this one. Long results are compared as they are; only documents are written out. */
const likenessTo = (last: ToolCall) => {
  const lastArgs = argumentsOf(last.args);
  const lastChars = typeof last.args === 'string' ? charsOf(last.args) : 0;
  const sameCall = ({ name, args }: ToolCall): boolean => {
    if (name !== last.name) return false;
    if (typeof args === 'string' && typeof last.args === 'string') {
      if (args === last.args) return true;
      if (charsOf(args) !== lastChars) return false;
    }
    return argumentsOf(args) === lastArgs;
  };
  const sameResult = (a: unknown, b: unknown): boolean =>
    a === b || (typeof a === 'object' && typeof b === 'object' && canonicalJson(a) === canonicalJson(b));
  return { lastArgs, sameCall, sameResult };
};

const readChat = (message: JsonObject, calls: Calls): void => {
  for (const call of listOf(message['tool_calls']))
    if (isObject(call['function'])) calls.add(call['function']['name'], call['function']['arguments'], call['id']);
  if (message['role'] === 'tool') calls.answered(message['tool_call_id'], message['content']);
};

const readResponses = (item: JsonObject, calls: Calls): void => {
  if (item['type'] === 'function_call') calls.add(item['name'], item['arguments'], item['call_id']);
  if (item['type'] === 'function_call_output') calls.answered(item['call_id'], item['output']);
};

const readAnthropic = (message: JsonObject, calls: Calls): void => {
  for (const block of listOf(message['content'])) {
    if (block['type'] === 'tool_use') calls.add(block['name'], block['input'], block['id']);
    if (block['type'] === 'tool_result') calls.answered(block['tool_use_id'], block['content']);
  }
};

const readGemini = (content: JsonObject, calls: Calls): void => {
  for (const part of listOf(content['parts'])) {
    const { functionCall, functionResponse } = part;
    if (isObject(functionCall))
      calls.add(functionCall['name'], functionCall['args'], functionCall['id'] ?? functionCall['name']);
    if (isObject(functionResponse))
      calls.answered(functionResponse['id'] ?? functionResponse['name'], functionResponse['response']);
  }
};

/** The turns of a conversation, the newest last; none for formats that are no conversations. */
export const turnsOf = (format: WireFormat, body: JsonObject): readonly JsonObject[] => {
  if (format === 'openai-chat' || format === 'anthropic') return listOf(body['messages']);
  if (format === 'openai-responses') return listOf(body['input']);
  return format === 'gemini' ? listOf(body['contents']) : [];
};

const readers = {
  'openai-chat': readChat,
  'openai-responses': readResponses,
  anthropic: readAnthropic,
  gemini: readGemini,
} as const;

export interface Repetition {
  /** How often the tool was called with these arguments, the last time included. */
  readonly times: number;
  readonly tool: string;
  /** Stays the same while the same call repeats. */
  readonly fingerprint: string;
}

/**
 * How often the conversation's last tool call repeats: calls of the same tool with the same arguments right before it,
 * or, with others in between, those that also got the same answer. Null when there was no tool call.
 */
export const repetitionOf = (format: WireFormat, body: JsonObject): Repetition | null => {
  const calls = new Calls();
  const read =
    format === 'openai-chat' || format === 'openai-responses' || format === 'anthropic' || format === 'gemini'
      ? readers[format]
      : null;
  if (read === null) return null;
  for (const turn of turnsOf(format, body)) read(turn, calls);
  const last = calls.all.at(-1);
  if (last === undefined) return null;
  const { lastArgs, sameCall, sameResult } = likenessTo(last);
  const same = calls.all.map(sameCall);
  const inARow = calls.all.length - 1 - same.lastIndexOf(false);
  // Somebody who waits for a build asks the same in a row and hears something new; with others in between that is work.
  const alike = calls.all.filter((_, i) => same[i] === true);
  const settled = alike.findLast(({ result }) => result !== undefined)?.result;
  const unchanged = alike.filter(({ result }) => sameResult(result, settled)).length;
  const fingerprint = digestOf(last.name, lastArgs).toString('hex').slice(0, 32);
  return { times: Math.max(inARow, unchanged), tool: last.name, fingerprint };
};

/** Names of one occurrence rather than of what is said; they differ each time. */
const occurrences = new Set([
  'id',
  'tool_call_id',
  'call_id',
  'tool_use_id',
  'signature',
  'encrypted_content',
  'cache_control',
  'thoughtSignature',
]);

const isModel = (turn: JsonObject): boolean =>
  turn['role'] === 'assistant' || turn['role'] === 'model' || turn['type'] === 'function_call';

/**
 * Digest of what is newest in a conversation: the model's last turn and all that follows it. Two requests of a run with
 * the same one say nothing new, whatever the rest has grown to. Null when there is no conversation.
 */
export const newestOf = (format: WireFormat, body: JsonObject): Buffer | null => {
  const turns = turnsOf(format, body);
  if (turns.length === 0) return null;
  const lastOfModel = turns.findLastIndex(isModel);
  const from = lastOfModel === -1 ? turns.length - 1 : lastOfModel;
  return digestOf(canonicalJson(turns.slice(from), occurrences));
};
