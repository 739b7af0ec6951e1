/**
 * CSI and OSC sequences as a whole, so that their parameters do not stay behind as text. A control that is no white
 * space stands for ESC: in front of a bracket none of the others has a meaning worth keeping.
 */
const escapeSequences =
  /(?!\s)\p{Cc}\[[0-?]*[ -/]*[@-~]|\u009b[0-?]*[ -/]*[@-~]|(?!\s)\p{Cc}\][^\p{Cc}]*(?:\p{Cc}\\?)?/gu;
const lineBreaks = /[\s\u0085]+/gu;
/** Controls and what reorders or hides text on a terminal. The joiner U+200D stays: emoji need it. */
const unsafe =
  /\p{Cc}|\u00ad|\u061c|\u180e|[\u200b\u200c]|[\u200e\u200f]|[\u2028-\u202e]|[\u2060-\u206f]|\ufeff|[\ufff9-\ufffb]/gu;

/** `text` on one line, without anything a terminal would act on. Text from agents and models is hostile until then. */
export const printable = (text: string): string =>
  text.toWellFormed().replace(escapeSequences, '').replace(lineBreaks, ' ').replace(unsafe, '');

const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });
const wide =
  /^(?:\p{Emoji_Presentation}|\p{Regional_Indicator}|.*\ufe0f|[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}])/su;
const zero = /^(?:\p{Mn}|\p{Me}|\u200d|[\ufe00-\ufe0f])+$/u;
const plain = /^[\x20-\x7e]*$/;
/** Code points of one grapheme that are kept: a heap of combining marks would paint over its neighbours. */
const maxGraphemePoints = 10;

const graphemeWidth = (grapheme: string): number => {
  if (zero.test(grapheme)) return 0;
  return wide.test(grapheme) ? 2 : 1;
};

/** Columns that a terminal gives `text`, which is `printable` already. After UAX #11 for East Asian width. */
export const textWidth = (text: string): number => {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmenter.segment(text)) width += graphemeWidth(segment);
  return width;
};

/** `printable` text in exactly `width` columns: padded on the right, or cut with an ellipsis. */
export const fitted = (text: string, width: number): string => {
  if (width <= 0) return '';
  if (plain.test(text)) return text.length <= width ? text.padEnd(width) : `${text.slice(0, width - 1)}…`;
  let kept = '';
  let used = 0;
  /** What is kept when one column must be left for the ellipsis. */
  let short = { text: '', used: 0 };
  for (const { segment } of segmenter.segment(text)) {
    const columns = graphemeWidth(segment);
    if (used + columns > width) return `${short.text}…${' '.repeat(width - short.used - 1)}`;
    kept += Array.from(segment).slice(0, maxGraphemePoints).join('');
    used += columns;
    if (used < width) short = { text: kept, used };
  }
  return kept + ' '.repeat(width - used);
};
