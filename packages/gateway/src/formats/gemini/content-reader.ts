import { callArguments, jsonText } from '../call-arguments.ts';
import { madeCallId } from '../call-identity.ts';
import type { JsonObject } from '../format.ts';
import { isObject } from '../json-value.ts';
import type { Losses } from '../losses.ts';
import { mediaOf } from '../media-source.ts';
import type { MediaPart, Part, ResultPart, Signature, TextPart } from '../neutral.ts';
import { signatureOf } from '../signature.ts';
import { noSignature } from './content-writer.ts';
import { ProtoMembers } from './proto-members.ts';

const textPart = (text: string, at: string, signature: Signature | null = null): TextPart => ({
  kind: 'text',
  text,
  at,
  cache: null,
  signature,
});

/** The store of files that belongs to Gemini; any other address is one of the web. */
const isOwnFile = (uri: string): boolean => !/^https?:/.test(uri) || uri.includes('generativelanguage.googleapis.com/');

const mediaPart = (
  source: MediaPart['source'],
  mimeType: string | null,
  name: string | null,
  at: string,
): MediaPart => ({
  kind: 'media',
  media: mimeType === null ? 'document' : mediaOf(mimeType),
  source,
  name,
  detail: null,
  at,
  cache: null,
});

const readInline = (value: JsonObject, at: string, losses: Losses): MediaPart | null => {
  const data = new ProtoMembers(value, at, losses);
  const [mimeType, base64] = [data.text('mimeType'), data.text('data')];
  const name = data.text('displayName');
  data.rest();
  if (mimeType === null || base64 === null) {
    losses.add(at);
    return null;
  }
  return mediaPart({ kind: 'data', mimeType, base64 }, mimeType, name, at);
};

const readFile = (value: JsonObject, at: string, losses: Losses): MediaPart | null => {
  const file = new ProtoMembers(value, at, losses);
  const [uri, mimeType, name] = [file.text('fileUri'), file.text('mimeType'), file.text('displayName')];
  file.rest();
  if (uri === null) {
    losses.add(at);
    return null;
  }
  return mediaPart(
    isOwnFile(uri) ? { kind: 'file', id: uri } : { kind: 'url', url: uri, mimeType },
    mimeType,
    name,
    at,
  );
};

/**
 * Gives calls ids where Gemini gave none, and finds the call that a result without one belongs to: the earliest of its
 * name that has no result yet.
 */
export class CallIds {
  readonly #answerId: string | null;
  readonly #open: { readonly id: string; readonly name: string }[] = [];
  #made = 0;

  constructor(answerId: string | null) {
    this.#answerId = answerId;
  }

  ofCall(id: string | null, name: string, choice = 0): string {
    const known = id === null || id === '' ? madeCallId(this.#answerId, choice, this.#made) : id;
    this.#made += 1;
    this.#open.push({ id: known, name });
    return known;
  }

  ofResult(id: string | null, name: string): string {
    const position = this.#open.findIndex((call) => (id === null || id === '' ? call.name === name : call.id === id));
    const [call] = position < 0 ? [] : this.#open.splice(position, 1);
    return id === null || id === '' ? (call?.id ?? madeCallId(name, 0, 0)) : id;
  }
}

/** Text of a result: `output` and `error` are the members that Gemini's guides name for it. */
const resultText = (response: JsonObject, at: string, losses: Losses): { text: string; isError: boolean } => {
  const [key, ...others] = Object.keys(response);
  if (others.length === 0 && (key === 'output' || key === 'error')) {
    const value = response[key];
    if (typeof value === 'string') return { text: value, isError: key === 'error' };
  }
  return { text: jsonText(response, at, losses), isError: false };
};

const readResult = (value: JsonObject, at: string, ids: CallIds, losses: Losses): ResultPart => {
  const result = new ProtoMembers(value, at, losses);
  const [id, name] = [result.text('id'), result.text('name') ?? ''];
  const { text, isError } = resultText(result.nested('response') ?? {}, at, losses);
  const content: (TextPart | MediaPart)[] = [textPart(text, `${at}.response`)];
  const place = result.path('parts');
  for (const [i, part] of result.list('parts').entries()) {
    const where = `${place}[${i}]`;
    const data = isObject(part) ? new ProtoMembers(part, where, losses).nested('inlineData') : null;
    const inline = data === null ? null : readInline(data, `${where}.inlineData`, losses);
    if (inline === null) losses.add(where);
    else content.push(inline);
  }
  result.rest();
  return { kind: 'result', callId: ids.ofResult(id, name), name, content, isError, custom: false, at, cache: null };
};

const readCall = (
  value: JsonObject,
  at: string,
  signature: Signature | null,
  place: { ids: CallIds; choice: number },
  losses: Losses,
): Part => {
  const call = new ProtoMembers(value, at, losses);
  const [id, name] = [call.text('id'), call.text('name')];
  if (name === null) throw losses.invalid(at, 'has no name of a tool');
  const input = callArguments(call.take('args') ?? {});
  call.rest();
  const known = place.ids.ofCall(id, name, place.choice);
  return { kind: 'call', id: known, name, input, custom: false, signature, at, cache: null };
};

/** One part of a content. Null for what only Gemini knows; it is named. */
export const readPart = (
  value: unknown,
  at: string,
  place: { ids: CallIds; choice: number },
  losses: Losses,
): Part | null => {
  if (!isObject(value)) throw losses.invalid(at, 'must be an object');
  const part = new ProtoMembers(value, at, losses);
  const signed = part.text('thoughtSignature');
  const isSigned = signed !== null && signed !== '' && signed !== noSignature;
  const signature = isSigned ? signatureOf(signed, 'gemini') : null;
  const isThought = part.flag('thought') === true;
  const text = part.text('text');
  const call = part.nested('functionCall');
  const result = part.nested('functionResponse');
  const inline = part.nested('inlineData');
  const file = part.nested('fileData');
  part.rest();
  if (text !== null) return isThought ? { kind: 'thinking', text, signature, at } : textPart(text, at, signature);
  if (call !== null) return readCall(call, `${at}.functionCall`, signature, place, losses);
  if (result !== null) return readResult(result, `${at}.functionResponse`, place.ids, losses);
  if (inline !== null) return readInline(inline, `${at}.inlineData`, losses);
  if (file !== null) return readFile(file, `${at}.fileData`, losses);
  return signature === null ? null : textPart('', at, signature);
};

/**
 * Clients that keep what a stream brought send it back in as many pieces. Pieces of one text belong together, and so
 * does a thought with the signature that followed it.
 */
export const joinPieces = (parts: readonly Part[]): Part[] => {
  const joined: Part[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.kind === 'text' && last?.kind === 'text' && last.signature === null)
      joined[joined.length - 1] = { ...last, text: last.text + part.text, signature: part.signature };
    else if (part.kind === 'thinking' && last?.kind === 'thinking' && last.signature === null)
      joined[joined.length - 1] = { ...last, text: last.text + part.text, signature: part.signature };
    else joined.push(part);
  }
  return joined;
};
