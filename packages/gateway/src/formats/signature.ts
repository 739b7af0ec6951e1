import type { Origin, Signature } from './neutral.ts';

/**
 * A signature travels through another format in that format's own opaque field, marked with who made it, and comes back
 * with the conversation: `hf1.<origin>.<item id>.<value>`. No provider's own signatures have a dot in them.
 */
const mark = 'hf1.';

const isOrigin = (text: string): text is Origin =>
  text === 'openai' || text === 'anthropic' || text === 'anthropic-redacted' || text === 'gemini';

/** What to write into an opaque field of the format that `native` belongs to. */
export const signatureText = (signature: Signature, native: Origin): string => {
  if (signature.origin === native) return signature.value;
  return `${mark}${signature.origin}.${signature.id.replace(/[^\w-]/g, '_')}.${signature.value}`;
};

/** The signature in an opaque field of the format that `native` belongs to. */
export const signatureOf = (text: string, native: Origin, id = ''): Signature => {
  const own: Signature = { origin: native, id, value: text };
  if (!text.startsWith(mark)) return own;
  const originEnd = text.indexOf('.', mark.length);
  const idEnd = text.indexOf('.', originEnd + 1);
  const origin = text.slice(mark.length, originEnd);
  if (originEnd < 0 || idEnd < 0 || !isOrigin(origin)) return own;
  return { origin, id: text.slice(originEnd + 1, idEnd), value: text.slice(idEnd + 1) };
};
