import { HoldfastError } from '@holdfast/core';

/** One part of a form, as places in its bytes. */
export interface FormPart {
  readonly name: string;
  /** True for a file. */
  readonly isFile: boolean;
  readonly start: number;
  readonly end: number;
}

const maxParts = 256;
const maxPartHeadBytes = 8_192;

const invalid = (why: string): HoldfastError => new HoldfastError('request.invalid', `The form is not valid: ${why}.`);

/** Null when the type is not a form. */
export const boundaryOf = (contentType: string): string | null => {
  if (!/^multipart\/form-data\s*;/i.test(contentType)) return null;
  const match = /;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType);
  return match?.[1] ?? match?.[2] ?? null;
};

const partOf = (head: string, start: number, end: number): FormPart => {
  const line = head.split('\r\n').find((l) => /^content-disposition\s*:/i.test(l)) ?? '';
  const name = /[;\s]name="((?:[^"\\]|\\.)*)"/i.exec(line)?.[1] ?? /[;\s]name=([^\s;"]+)/i.exec(line)?.[1];
  if (name === undefined) throw invalid('a part has no name');
  return { name, isFile: /[;\s]filename\*?=/i.test(line), start, end };
};

/** The parts in their order: https://www.rfc-editor.org/rfc/rfc7578. Errors: `request.invalid`. */
export const formParts = (bytes: Buffer, boundary: string): readonly FormPart[] => {
  const parts: FormPart[] = [];
  const first = Buffer.from(`--${boundary}`);
  const next = Buffer.from(`\r\n--${boundary}`);
  let at = bytes.indexOf(first);
  if (at === -1) throw invalid('its boundary is not in it');
  at += first.length;
  while (bytes.toString('latin1', at, at + 2) === '\r\n') {
    const headEnd = bytes.indexOf('\r\n\r\n', at);
    if (headEnd === -1 || headEnd - at > maxPartHeadBytes) throw invalid('the head of a part has no end');
    const end = bytes.indexOf(next, headEnd + 2);
    if (end === -1) throw invalid('a part has no end');
    // A part without content: the boundary follows its head at once.
    parts.push(
      partOf(bytes.toString('utf8', at + 2, headEnd), Math.min(headEnd + 4, end + 2), Math.max(end, headEnd + 4)),
    );
    if (parts.length > maxParts) throw invalid(`it has more than ${maxParts} parts`);
    at = end + next.length;
  }
  if (bytes.toString('latin1', at, at + 2) !== '--') throw invalid('it has no end');
  return parts;
};
