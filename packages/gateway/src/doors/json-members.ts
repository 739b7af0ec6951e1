/** One member of a JSON object, as places in its text. */
export interface JsonMember {
  readonly key: string;
  readonly start: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

const isSpace = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;

const skipSpace = (text: string, at: number): number => {
  let i = at;
  while (isSpace(text.charCodeAt(i))) i += 1;
  return i;
};

/** From the opening quote to behind the closing one. Searches instead of stepping: prompts are megabytes of string. */
const skipString = (text: string, at: number): number => {
  let i = at;
  for (;;) {
    i = text.indexOf('"', i + 1);
    let slashes = 0;
    while (text.charCodeAt(i - 1 - slashes) === 0x5c) slashes += 1;
    if (slashes % 2 === 0) return i + 1;
  }
};

const skipNested = (text: string, at: number): number => {
  let depth = 0;
  let i = at;
  for (;;) {
    const c = text.charAt(i);
    if (c === '"') {
      i = skipString(text, i);
      continue;
    }
    if (c === '{' || c === '[') depth += 1;
    else if (c === '}' || c === ']') depth -= 1;
    i += 1;
    if (depth === 0) return i;
  }
};

const skipValue = (text: string, at: number): number => {
  const c = text.charAt(at);
  if (c === '"') return skipString(text, at);
  if (c === '{' || c === '[') return skipNested(text, at);
  let i = at;
  while (!isSpace(text.charCodeAt(i)) && !',]}'.includes(text.charAt(i))) i += 1;
  return i;
};

/**
 * The members of the object that begins at `from`, in their order. `text` must be JSON that `JSON.parse` took, with an
 * object there; nothing is checked again.
 */
export const jsonMembers = (text: string, from = 0): JsonMember[] => {
  const members: JsonMember[] = [];
  let i = skipSpace(text, skipSpace(text, from) + 1);
  while (text.charAt(i) === '"') {
    const keyEnd = skipString(text, i);
    const key: unknown = JSON.parse(text.slice(i, keyEnd));
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const valueEnd = skipValue(text, valueStart);
    members.push({ key: String(key), start: i, valueStart, valueEnd });
    i = skipSpace(text, valueEnd);
    if (text.charAt(i) !== ',') break;
    i = skipSpace(text, i + 1);
  }
  return members;
};

/** A replacement of `text[start, end)`. */
export interface TextEdit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Applies edits that do not overlap; every other character stays as it is. */
export const edited = (text: string, edits: readonly TextEdit[]): string => {
  let result = '';
  let at = 0;
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    result += text.slice(at, edit.start) + edit.text;
    at = edit.end;
  }
  return result + text.slice(at);
};
